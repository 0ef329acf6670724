-- The words by which approvals are found. Read backwards by approval, a word's newest come first.
create table approval_words (
    word      text  not null,
    approval  text  not null,
    primary key (word, approval)
) without rowid;
create index approval_words_approval on approval_words (approval);
-- What is kept already is found by its whole names.
insert into approval_words (word, approval)
select lower(tool), id from approvals
union select lower(agent), id from approvals
union select lower(upstream), id from approvals;
