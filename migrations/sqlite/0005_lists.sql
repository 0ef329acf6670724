-- For lists narrowed to one agent, upstream or tool, newest first: what is rare is found without
-- reading all of the history.
create index approvals_of_agent on approvals (agent, id);
create index approvals_of_upstream on approvals (upstream, id);
create index approvals_of_tool on approvals (tool, id);
create index approvals_alike on approvals (agent, upstream, tool, id);
