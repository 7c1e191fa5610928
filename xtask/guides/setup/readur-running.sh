# A migration is running, slowly, in the container.
cat >"$WORLD/bin/readur-wait-for-end" <<'END'
#!/bin/bash
# Returns when no migration runs any more.
deadline=$((SECONDS + 30))
while docker exec readur-app pgrep -f migrate_to_s3 >/dev/null; do
  [ $SECONDS -lt $deadline ] || exit 1
done
END
chmod +x "$WORLD/bin/readur-wait-for-end"
begin_slowly
disown
