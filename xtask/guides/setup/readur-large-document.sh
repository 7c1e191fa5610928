# One document is larger than the guide's threshold; as a picture its length may differ from its row's.
id=$(psql -X -q -A -t -d readur -c "SELECT id FROM documents WHERE mime_type LIKE 'image/%' ORDER BY id LIMIT 1")
path=$(psql -X -q -A -t -d readur -c "SELECT file_path FROM documents WHERE id = '$id'")
dd if=/dev/urandom of="$path" bs=1M count=60 status=none
psql -X -q -d readur -c "UPDATE documents SET file_size = $(stat -c %s "$path"), file_hash = '$(sha256sum <"$path" | cut -d ' ' -f 1)' WHERE id = '$id'"
readur-check remember
