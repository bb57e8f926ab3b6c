# Run inside a new Debian, whose clock nobody but the tests is to set and whose disk nobody else is to use.
set -e
echo guest >/etc/hostname
echo "127.0.0.1 localhost guest" >/etc/hosts
# Without a name of its own, systemd takes a start for the first and enables what it finds.
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
cat >/etc/fstab <<end
/dev/vda / ext4 rw 0 0
/dev/vdb /guest ext4 ro 0 0
end
mkdir -p /guest
depmod "$(ls /lib/modules)"

systemctl mask serial-getty@ttyS0.service getty@tty1.service systemd-pstore.service \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	e2scrub_reap.service fstrim.timer logrotate.timer man-db.timer
systemctl disable prometheus.service

cat >/etc/systemd/system/guest.service <<end
[Unit]
Description=What this machine is for
After=multi-user.target
[Service]
ExecStart=/bin/bash /guest/begin
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
KillMode=process
[Install]
WantedBy=multi-user.target
end
systemctl enable guest.service
