# Readur as it is: nothing has been migrated.
