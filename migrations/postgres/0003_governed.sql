-- By which request of the protocol a call is made: tools/call, prompts/get, resources/read.
alter table approvals add column method text not null default 'tools/call';
