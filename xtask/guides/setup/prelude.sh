# What every set-up may use. The runner exports WORLD (a scratch folder), STORE (the block's store),
# S3_ADDRESS (the S3 server on loopback) and XTASK (this program).

# Stops with a sentence: the set-up itself is wrong, or hx is.
fail() {
  echo "set-up: $*" >&2
  exit 1
}

# Runs a command on another machine of the same person.
other() {
  mkdir -p "$WORLD/other"
  HOME="$WORLD/other" HX_HOST=other "$@"
}

# Bucket and prefix of the block's store.
bucket_of_store() {
  local rest=${STORE#s3://}
  rest=${rest%%\?*}
  echo "${rest%%/*}"
}
prefix_of_store() {
  local rest=${STORE#s3://}
  rest=${rest%%\?*}
  case "$rest" in
  */*) echo "${rest#*/}/" ;;
  esac
}

# The newest object of a kind in the block's store, such as `manifests/`.
newest_object() {
  "$XTASK" s3 "$S3_ADDRESS" list "$(bucket_of_store)" "$(prefix_of_store)$1" | tail -n 1
}
