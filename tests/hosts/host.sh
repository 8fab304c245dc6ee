# The first process of a host: makes folders of its own, starts sshd and lives until it is killed.
# Called in fresh namespaces with the host's folder, its name and the folders that stay visible.
set -eu
own=$1 name=$2
shift 2
hostname "$name"

# What must stay visible may lie under what is about to be covered: it waits in the host's own /run.
run=$(mktemp -d)
mount -t tmpfs -o mode=755 run "$run"
mkdir "$run/own" "$run/sshd" "$run/lock"
mount --rbind "$own" "$run/own"
count=0
for folder; do
    count=$((count + 1))
    mkdir "$run/kept$count"
    mount --rbind "$folder" "$run/kept$count"
done
mount --rbind "$run" /run
umount -l "$run"
rmdir "$run"

mount --bind /run/own/root /root
mount --bind /run/own/tmp /tmp
mount -t tmpfs -o mode=1777 shm /dev/shm
count=0
for folder; do
    count=$((count + 1))
    mkdir -p "$folder"
    mount --rbind "/run/kept$count" "$folder"
    umount -l "/run/kept$count"
done

if [ -e /run/own/sshd_config ]; then
    /usr/sbin/sshd -D -f /run/own/sshd_config -E /run/own/sshd.log &
fi
# Everything is in place: whoever waits for this file may come in. Bash buries the dead while it waits.
touch /run/own/ready
sleep infinity &
while :; do wait -n || true; done
