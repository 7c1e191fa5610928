# What every set-up of the migration guide may use. Readur has 60 documents; nothing of it has moved. The runner exports WORLD (the
# scratch folder as seen inside), BUCKETS (the S3 server's folder) and what psql and the AWS client need.

# Stops with a sentence: the set-up itself is wrong, or the tool is.
fail() {
  echo "set-up: $*" >&2
  exit 1
}

migrate() {
  docker exec readur-app cargo run --bin migrate_to_s3 -- "$@"
}

# How many documents' rows say that they are in the bucket.
moved() {
  psql -X -q -A -t -d readur -c "SELECT count(*) FROM documents WHERE file_path LIKE 's3://%'"
}

# Begins a slow migration and returns when it is under way.
begin_slowly() {
  migrate --enable-rollback --batch-size 4 --parallel-uploads 1 --bandwidth 10KB "$@" >"$WORLD/slow.log" 2>&1 &
  local deadline=$((SECONDS + 60))
  while [ "$(moved)" -lt 8 ]; do
    [ $SECONDS -lt $deadline ] || fail "nothing moves: $(tail -n 3 "$WORLD/slow.log")"
    jobs %1 >/dev/null 2>&1 || fail "it has ended: $(tail -n 3 "$WORLD/slow.log")"
  done
}

# Leaves a migration that was killed half-way, as by a power cut.
interrupt() {
  begin_slowly "$@"
  docker exec readur-app pkill -KILL -f migrate_to_s3
  wait || true
  readur-check unfinished
}

readur-check remember
