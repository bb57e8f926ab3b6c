#!/bin/busybox sh
# The first process of a test machine: /guest/command between a boot and a power-off.
/bin/busybox --install -s /usr/bin
export PATH=/usr/sbin:/usr/bin HOME=/root
mkdir -p /proc /sys /dev /tmp /run /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# In memory already; a mount would hide the files that were taken along to it.
chmod 1777 /tmp
ip link set lo up

# Only what the kernel says from here on is worth showing.
dmesg -c >/dev/null
echo "$(cat /guest/marker) begins"
# Through a pipe, so that programs see no terminal and leave their colours out.
mkfifo /guest/output
cat /guest/output & cat=$!
sh /guest/command </dev/null >/guest/output 2>&1
code=$?
# Whatever the command left running keeps the pipe open.
{ sleep 2; kill $cat; } 2>/dev/null &
wait $cat 2>/dev/null

[ $code = 0 ] || dmesg | tail -n 40
echo
echo "$(cat /guest/marker) ends with $code"
/guest/exit $code
poweroff -f
