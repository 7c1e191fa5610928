# Everything has moved, and the container's /tmp went with its restart.
migrate
find /tmp -name '*migration_state*' -delete
