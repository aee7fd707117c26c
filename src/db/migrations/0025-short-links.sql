-- Where the short links of text messages lead. They outlive their messages, as whoever got one may follow it late.
create table short_links (
  environment text not null,
  code text not null,
  message_id uuid not null,
  url text not null,
  inserted_at timestamptz not null,
  primary key (environment, code)
);
create index short_links_by_age on short_links (inserted_at);
