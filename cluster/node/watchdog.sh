#!/bin/bash
# Ends this machine when no Ray has run on it for half an hour: whoever set it up has gone, or its head. What a machine costs
# must not hang on another that can be lost. By a shutdown AWS ends it for good, Google Cloud all but its disk; Azure would go on
# counting. It goes on in the background; one of it runs on a machine.
if [ "${1:-}" != watch ]; then
    setsid nohup bash "$0" watch >> ~/watchdog.log 2>&1 < /dev/null &
    exit 0
fi
exec 9> ~/.distml-watchdog
flock -n 9 || exit 0
missing=0
while sleep "${WATCHDOG_POLL_S:-60}"; do
    if pgrep -x raylet > /dev/null; then
        missing=0
        continue
    fi
    missing=$((missing + 1))
    if [ "$missing" -ge 30 ]; then
        echo "$(date -u +%FT%TZ) no Ray has run here at the last $missing looks: this machine ends"
        sudo shutdown -h now
    fi
done
