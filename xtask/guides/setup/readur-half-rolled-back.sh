# A rollback ended half-way, as by a power cut.
migrate
export MIGRATE_CRASH_AT=40
! docker exec -e MIGRATE_CRASH_AT readur-app cargo run --bin migrate_to_s3 -- --rollback --yes --batch-size 2 || fail "the rollback did not end half-way"
unset MIGRATE_CRASH_AT
readur-check unfinished
