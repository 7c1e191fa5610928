# What every set-up of the bottles' guide may use. The runner exports WORLD (a scratch folder), UPSTREAM (flags that name the sample
# upstream), HOMEBREW_SYNC_STORE (the bucket) and what the AWS client needs.

# Stops with a sentence: the set-up itself is wrong, or the tool is.
fail() {
  echo "set-up: $*" >&2
  exit 1
}

BUCKET=${HOMEBREW_SYNC_STORE#s3://}

mirror() {
  homebrew-sync sync $UPSTREAM --all "$@"
}
