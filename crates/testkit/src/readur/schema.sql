-- The part of Readur's database that a migration of its files can meet, written down from what its own 47 migrations leave behind in
-- PostgreSQL 15: the same columns in the same order, defaults, constraints and indexes, and the triggers of `documents`. Tables that
-- hold neither paths nor references to documents are left out, and so are the triggers of `sources` and `ocr_queue`.
create extension if not exists pg_trgm;

create table users (
  id uuid primary key default gen_random_uuid(),
  username varchar(255) not null unique,
  email varchar(255) not null unique,
  password_hash varchar(255),
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  role varchar(20) default 'user',
  oidc_subject varchar(255),
  oidc_issuer varchar(255),
  oidc_email varchar(255),
  auth_provider varchar(50) default 'local',
  constraint check_user_role check (role in ('admin', 'user')),
  constraint check_auth_method check (
    auth_provider = 'local' and password_hash is not null
    or auth_provider = 'oidc' and oidc_subject is not null and oidc_issuer is not null)
);
create index idx_users_auth_provider on users (auth_provider);
create index idx_users_oidc_subject_issuer on users (oidc_subject, oidc_issuer);

create table sources (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references users on delete cascade,
  name text not null,
  source_type text not null,
  enabled boolean default true,
  config jsonb not null default '{}',
  status text default 'idle',
  last_sync_at timestamptz,
  last_error text,
  last_error_at timestamptz,
  total_files_synced bigint default 0,
  total_files_pending bigint default 0,
  total_size_bytes bigint default 0,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  validation_status text,
  last_validation_at timestamptz,
  validation_score integer check (validation_score >= 0 and validation_score <= 100),
  validation_issues text,
  unique (user_id, name)
);
create index idx_sources_user_id on sources (user_id);
create index idx_sources_source_type on sources (source_type);
create index idx_sources_status on sources (status);
create index idx_sources_validation_status on sources (validation_status);
create index idx_sources_last_validation_at on sources (last_validation_at);

create table documents (
  id uuid primary key default gen_random_uuid(),
  filename varchar(255) not null,
  original_filename varchar(255) not null,
  file_path varchar(500) not null,
  file_size bigint not null,
  mime_type varchar(100) not null,
  content text,
  ocr_text text,
  ocr_confidence real,
  ocr_word_count integer,
  ocr_processing_time_ms integer,
  ocr_status varchar(20) default 'pending',
  ocr_error text,
  ocr_completed_at timestamptz,
  tags text[] default '{}',
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  user_id uuid references users on delete cascade,
  source_id uuid references sources on delete set null,
  ocr_failure_reason text,
  file_hash varchar(64),
  original_created_at timestamptz,
  original_modified_at timestamptz,
  source_metadata jsonb,
  ocr_retry_count integer default 0,
  source_path text,
  source_type text,
  file_permissions integer,
  file_owner text,
  file_group text,
  constraint check_ocr_status check (ocr_status in ('pending', 'processing', 'completed', 'failed')),
  constraint check_ocr_confidence check (ocr_confidence is null or ocr_confidence >= 0 and ocr_confidence <= 100),
  constraint check_ocr_word_count check (ocr_word_count is null or ocr_word_count >= 0),
  constraint check_ocr_processing_time check (ocr_processing_time_ms is null or ocr_processing_time_ms >= 0)
);
create index idx_documents_user_id on documents (user_id);
create index idx_documents_filename on documents (filename);
create index idx_documents_mime_type on documents (mime_type);
create index idx_documents_source_id on documents (source_id);
create index idx_documents_tags on documents using gin (tags);
create index idx_documents_source_metadata on documents using gin (source_metadata);
create index idx_documents_filename_trgm on documents using gin (filename gin_trgm_ops);
create index idx_documents_content_search on documents
  using gin (to_tsvector('english', coalesce(content, '') || ' ' || coalesce(ocr_text, '')));
create index idx_documents_content_trgm on documents
  using gin ((coalesce(content, '') || ' ' || coalesce(ocr_text, '')) gin_trgm_ops);
create unique index idx_documents_user_file_hash on documents (user_id, file_hash) where file_hash is not null;
create index idx_documents_file_hash on documents (file_hash) where file_hash is not null;
create index idx_documents_ocr_confidence on documents (ocr_confidence) where ocr_confidence is not null;
create index idx_documents_ocr_confidence_range on documents (ocr_confidence) where ocr_confidence is not null;
create index idx_documents_ocr_word_count on documents (ocr_word_count) where ocr_word_count is not null;
create index idx_documents_ocr_failure_reason on documents (ocr_failure_reason) where ocr_failure_reason is not null;
create index idx_documents_ocr_pending on documents (created_at) where ocr_status = 'pending';
create index idx_documents_pending_ocr on documents (created_at) where ocr_status = 'pending';
create index idx_documents_processing_ocr on documents (updated_at) where ocr_status = 'processing';
create index idx_documents_source_path on documents (source_path) where source_path is not null;
create index idx_documents_source_type on documents (source_type) where source_type is not null;
create index idx_documents_file_permissions on documents (file_permissions) where file_permissions is not null;
create index idx_documents_file_owner on documents (file_owner) where file_owner is not null;
create index idx_documents_file_group on documents (file_group) where file_group is not null;

create table ocr_queue (
  id uuid primary key default gen_random_uuid(),
  document_id uuid,
  status varchar(20) default 'pending',
  priority integer default 5,
  attempts integer default 0,
  max_attempts integer default 3,
  created_at timestamptz default now(),
  started_at timestamptz,
  completed_at timestamptz,
  error_message text,
  worker_id varchar(100),
  processing_time_ms integer,
  file_size bigint,
  progress_current integer default 0,
  progress_total integer default 0,
  constraint check_status check (status in ('pending', 'processing', 'completed', 'failed', 'cancelled')),
  constraint check_queue_status check (status in ('pending', 'processing', 'completed', 'failed')),
  constraint check_attempts_limit check (attempts <= max_attempts),
  constraint check_priority_range check (priority >= 0 and priority <= 1000),
  constraint ocr_queue_document_id_fkey foreign key (document_id) references documents on delete cascade,
  constraint fk_ocr_queue_document_id foreign key (document_id) references documents on delete cascade
);
create index idx_ocr_queue_status on ocr_queue (status, priority desc, created_at);
create index idx_ocr_queue_document_id on ocr_queue (document_id);
create index idx_ocr_queue_document_status on ocr_queue (document_id, status, created_at);
create index idx_ocr_queue_created_at on ocr_queue (created_at) where status = 'pending';
create index idx_ocr_queue_worker on ocr_queue (worker_id) where status = 'processing';
create unique index idx_ocr_queue_unique_pending_document on ocr_queue (document_id) where status in ('pending', 'processing');

-- Recognised text may only be taken back by asking for it anew; a document that is done leaves the queue.
create function validate_ocr_consistency() returns trigger language plpgsql as $body$
begin
  if old.ocr_status = 'completed' and new.ocr_status not in ('completed', 'pending') then
    raise exception 'document % has its text: it can only go back to pending', old.id;
  end if;
  if old.ocr_status <> 'completed' and new.ocr_status = 'completed' then
    new.ocr_completed_at = now();
  end if;
  return new;
end $body$;
create trigger trigger_validate_ocr_consistency before update on documents for each row
  when (old.ocr_status is distinct from new.ocr_status or old.ocr_text is distinct from new.ocr_text)
  execute function validate_ocr_consistency();

create function cleanup_completed_ocr_queue() returns trigger language plpgsql as $body$
begin
  delete from ocr_queue where document_id = new.id;
  return new;
end $body$;
create trigger trigger_cleanup_completed_ocr_queue after update on documents for each row
  when (new.ocr_status = 'completed' and old.ocr_status <> 'completed')
  execute function cleanup_completed_ocr_queue();

create table failed_documents (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references users on delete cascade,
  filename text not null,
  original_filename text,
  original_path text,
  file_path text,
  file_size bigint,
  file_hash varchar(64),
  mime_type text,
  content text,
  tags text[],
  ocr_text text,
  ocr_confidence real,
  ocr_word_count integer,
  ocr_processing_time_ms integer,
  failure_reason text not null,
  failure_stage text not null,
  existing_document_id uuid references documents on delete set null,
  ingestion_source text not null,
  error_message text,
  retry_count integer default 0,
  last_retry_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  constraint check_failure_reason check (failure_reason in (
    'duplicate_content', 'duplicate_filename', 'unsupported_format', 'file_too_large', 'file_corrupted', 'access_denied',
    'low_ocr_confidence', 'ocr_timeout', 'ocr_memory_limit', 'pdf_parsing_error', 'storage_quota_exceeded', 'network_error',
    'permission_denied', 'virus_detected', 'invalid_structure', 'policy_violation', 'other')),
  constraint check_failure_stage check (failure_stage in ('ingestion', 'validation', 'ocr', 'storage', 'processing', 'sync'))
);
create index idx_failed_documents_user_id on failed_documents (user_id);
create index idx_failed_documents_created_at on failed_documents (created_at desc);
create index idx_failed_documents_failure_reason on failed_documents (failure_reason);
create index idx_failed_documents_failure_stage on failed_documents (failure_stage);
create index idx_failed_documents_failure_stage_reason on failed_documents (failure_stage, failure_reason);
create index idx_failed_documents_file_hash on failed_documents (file_hash) where file_hash is not null;
create index idx_failed_documents_ingestion_source on failed_documents (ingestion_source);
create index idx_failed_documents_ocr_confidence on failed_documents (ocr_confidence) where ocr_confidence is not null;

create view legacy_failed_ocr_documents as
  select id, user_id, filename, original_filename, file_path, file_size, mime_type, tags, ocr_text, ocr_confidence, ocr_word_count,
         ocr_processing_time_ms, failure_reason as ocr_failure_reason, error_message as ocr_error, 'failed'::text as ocr_status,
         retry_count, created_at, updated_at
  from failed_documents
  where failure_stage = 'ocr';

create table processed_images (
  id uuid primary key default gen_random_uuid(),
  document_id uuid not null references documents on delete cascade,
  user_id uuid not null references users on delete cascade,
  original_image_path text not null,
  processed_image_path text not null,
  processing_parameters jsonb not null default '{}',
  processing_steps text[] not null default array[]::text[],
  image_width integer not null,
  image_height integer not null,
  file_size bigint not null,
  created_at timestamptz default now()
);
create index idx_processed_images_document_id on processed_images (document_id);
create index idx_processed_images_user_id on processed_images (user_id);
create index idx_processed_images_created_at on processed_images (created_at);

create table ignored_files (
  id uuid primary key default gen_random_uuid(),
  file_hash varchar(64) not null,
  filename varchar(500) not null,
  original_filename varchar(500) not null,
  file_path text not null,
  file_size bigint not null,
  mime_type varchar(255) not null,
  source_type varchar(50),
  source_path text,
  source_identifier text,
  ignored_at timestamptz not null default now(),
  ignored_by uuid not null references users on delete cascade,
  reason text,
  created_at timestamptz not null default now()
);
create index idx_ignored_files_file_hash on ignored_files (file_hash);
create index idx_ignored_files_ignored_at on ignored_files (ignored_at);
create index idx_ignored_files_ignored_by on ignored_files (ignored_by);
create index idx_ignored_files_lookup on ignored_files (file_hash, source_type, source_path);
create index idx_ignored_files_source_path on ignored_files (source_path);
create index idx_ignored_files_source_type on ignored_files (source_type);

create table webdav_files (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references users on delete cascade,
  webdav_path text not null,
  etag text not null,
  last_modified timestamptz,
  file_size bigint,
  mime_type text,
  document_id uuid references documents on delete set null,
  sync_status text default 'pending',
  sync_error text,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  source_id uuid references sources on delete cascade,
  unique (user_id, webdav_path)
);
create index idx_webdav_files_user_id on webdav_files (user_id);
create index idx_webdav_files_etag on webdav_files (etag);
create index idx_webdav_files_sync_status on webdav_files (sync_status);

create table webdav_directories (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references users on delete cascade,
  directory_path text not null,
  directory_etag text not null,
  last_scanned_at timestamptz default now(),
  file_count bigint default 0,
  total_size_bytes bigint default 0,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  scan_in_progress boolean default false,
  scan_started_at timestamptz,
  scan_error text,
  unique (user_id, directory_path)
);
create index idx_webdav_directories_user_id on webdav_directories (user_id);
create index idx_webdav_directories_etag on webdav_directories (directory_etag);
create index idx_webdav_directories_path on webdav_directories (user_id, directory_path);
create index idx_webdav_directories_last_scanned on webdav_directories (last_scanned_at);
create index idx_webdav_directories_scan_progress on webdav_directories (user_id, scan_in_progress) where scan_in_progress = true;
create index idx_webdav_directories_stale_scans on webdav_directories (scan_started_at) where scan_in_progress = true;

create table shared_links (
  id uuid primary key default gen_random_uuid(),
  document_id uuid not null references documents on delete cascade,
  created_by uuid not null references users on delete cascade,
  token varchar(64) not null unique,
  password_hash varchar(255),
  expires_at timestamptz,
  max_views integer,
  view_count integer not null default 0,
  is_revoked boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index idx_shared_links_created_by on shared_links (created_by);
create index idx_shared_links_document_id on shared_links (document_id);
create index idx_shared_links_token on shared_links (token) where is_revoked = false;

create table document_comments (
  id uuid primary key default gen_random_uuid(),
  document_id uuid not null references documents on delete cascade,
  user_id uuid not null references users on delete cascade,
  parent_id uuid references document_comments on delete cascade,
  content text not null,
  is_edited boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index idx_document_comments_document_id on document_comments (document_id);
create index idx_document_comments_created_at on document_comments (document_id, created_at);
create index idx_document_comments_parent_id on document_comments (parent_id);
