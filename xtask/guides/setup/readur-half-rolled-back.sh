# A rollback was killed half-way.
migrate
migrate --rollback --yes --batch-size 2 --bandwidth 15KB >"$WORLD/slow.log" 2>&1 &
deadline=$((SECONDS + 60))
while [ "$(moved)" -eq 60 ]; do
  [ $SECONDS -lt $deadline ] || fail "nothing moves: $(tail -n 3 "$WORLD/slow.log")"
done
docker exec readur-app pkill -KILL -f migrate_to_s3 || true
wait || true
