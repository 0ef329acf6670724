-- Lists narrowed to a state and a tool or upstream: a rare state of a busy tool.
create index approvals_tool_state on approvals (tool, state, id);
create index approvals_upstream_state on approvals (upstream, state, id);

-- What the reconcilers look for by age.
create index grants_expiry on grants (expires_at);
create index client_sessions_seen on client_sessions (seen_at);
create index sign_ins_expiry on sign_ins (expires_at);
create index rate_uses_at on rate_uses (at);
create index runs_changed on runs (changed_at);
