# Makes the inside of a container in new namespaces: WORLD is the block's scratch folder, PROGRAM the built tool, PYTHON has the AWS client.
# The host's folders are seen as they are, but for /app, /tmp, /proc and the logs. Says `ready`, then waits for the end of its input.
set -eu
WORLD=$1 PROGRAM=$2 PYTHON=$3
root=$WORLD/root

mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
for path in /*; do
  name=${path#/}
  case "$name" in app | proc | tmp | world) continue ;; esac
  if [ -L "$path" ]; then
    cp -a "$path" "$root/$name"
  elif [ -d "$path" ]; then
    mkdir "$root/$name"
    mount --rbind "$path" "$root/$name"
  fi
done
mkdir "$root/app" "$root/proc" "$root/tmp" "$root/world"
mount --bind "$WORLD" "$root/world"
mount --bind "$WORLD/app" "$root/app"
mount --bind "$WORLD/tmp" "$root/tmp"
mount --bind "$WORLD/log" "$root/var/log"
mount -t proc proc "$root/proc"
mount --bind "$PROGRAM" "$root/world/container/migrate_to_s3"

# The image has a user readur.
cp /etc/passwd "$WORLD/passwd"
cp /etc/group "$WORLD/group"
echo 'readur:x:10001:10001::/app:/bin/bash' >>"$WORLD/passwd"
echo 'readur:x:10001:' >>"$WORLD/group"
mount --bind "$WORLD/passwd" "$root/etc/passwd"
mount --bind "$WORLD/group" "$root/etc/group"

# The AWS client and the server's folder may lie below /tmp, which is another one inside.
seen() {
  case "$1" in
  /tmp/*)
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
    ;;
  esac
}
seen "$(dirname "$(dirname "$(dirname "$PYTHON")")")"
seen "$BUCKETS"

echo ready
exec >>"$WORLD/containers/readur-app.log" 2>&1
exec chroot "$root" cat
