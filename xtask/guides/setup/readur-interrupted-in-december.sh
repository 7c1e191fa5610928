# A migration was killed half-way; its state files have the time of the guide's line in their names.
interrupt
for path in /tmp/migration_state_2*; do
  mv "$path" "/tmp/migration_state_20241201_143022.${path##*.}"
done
