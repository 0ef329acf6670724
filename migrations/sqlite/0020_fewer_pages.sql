-- A new approval has no end and is no end of an identical call: it needs no place among these, which lie
-- apart by digest, so that each place is a page to write.
drop index approvals_identical;
create index approvals_identical on approvals (agent, digest, finished_at) where finished_at is not null;
-- They are counted (approval_counts), no longer looked at.
drop index approvals_waiting;
