-- SQLite says itself what became of a commit: it needs no table for the lives of a server.
select 1;
