#!/bin/busybox sh
# Finds the disk and hands the machine over to its systemd.
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /disk
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs dev /dev
while read -r module; do
	$bb insmod "/modules/$module" || echo "cannot load $module"
done </modules/order
until [ -b /dev/vda ]; do
	$bb sleep 0.1
done
$bb mount -t ext4 /dev/vda /disk
$bb mount --move /dev /disk/dev
$bb umount /sys /proc
exec $bb switch_root /disk /sbin/init
