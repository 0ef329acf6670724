-- Whether this is the database that a broker wrote last, or a copy of it that was put back. On
-- PostgreSQL `row` has what a dump does not carry; in SQLite `copied_at` stands in copies alone.
-- `restoring` is there while a restore is under way.
create table origin (
    name   text  not null primary key,
    value  text  not null
);
