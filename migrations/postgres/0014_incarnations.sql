-- The life of the server since it last crashed. A crash may give the numbers of transactions that
-- were under way to others, so that a number means something only within one life. An unlogged
-- table is emptied by a crash, and on a server that takes over from another.
create unlogged table incarnations (
    one integer primary key default 1 check (one = 1),
    id text not null
);
