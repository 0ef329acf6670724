-- What a person holds counts only under the entry of the configuration that it was made under:
-- `entry` is a SHA-256 of what the entry says of who they are and how they sign in, in hex. Empty: it
-- was ended. Null: made before this column was there; the next start takes it for the entry of then.
alter table sessions add column entry text;
alter table sign_ins add column entry text;
alter table tokens add column entry text;
alter table review_links add column entry text;
alter table passkeys add column entry text;
alter table oidc_words add column entry text;
create index sign_ins_reviewer on sign_ins (reviewer);
create index review_links_reviewer on review_links (reviewer);
