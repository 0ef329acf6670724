-- Whether a claimed call was surely not sent yet: 1 from the claim to the mark that is made directly
-- before its first byte. A broker of before this column leaves it at 0, so that what it claimed counts
-- as perhaps sent.
alter table approvals add column unsent bigint not null default 0;
