#!/bin/sh
# Builds the test machine's disk: a small Debian 12 with what every gateway has
# and with nothing of ours but the unit that runs the hand from the second disk.
#   image.sh FOLDER MIRROR     leaves disk.img, vmlinuz and initrd.img in FOLDER
set -eu
folder=$1 mirror=$2
root=$folder/root

debootstrap --variant=minbase --arch=amd64 \
	--include=systemd,systemd-sysv,dbus,udev,kmod,linux-image-cloud-amd64,iproute2,iputils-ping,nftables,wireguard-tools,iperf3,procps,openssh-client \
	bookworm "$root" "$mirror"

echo gateway >"$root/etc/hostname"
printf '127.0.0.1 localhost gateway\n' >"$root/etc/hosts"
: >"$root/etc/fstab"
: >"$root/etc/machine-id"
cat >"$root/etc/systemd/system/hand.service" <<'UNIT'
[Unit]
Description=The test's hand in this machine
After=dev-virtio\x2dports-ginnel.device
Wants=dev-virtio\x2dports-ginnel.device
[Service]
ExecStartPre=/bin/mkdir -p /lab
ExecStartPre=/bin/sh -c 'mountpoint -q /lab || mount -o ro /dev/vdb /lab'
ExecStart=/lab/hand serve
KillMode=process
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
UNIT
# udev tells systemd of the port only where a rule says so.
echo 'SUBSYSTEM=="virtio-ports", TAG+="systemd"' >"$root/etc/udev/rules.d/70-hand.rules"
chroot "$root" systemctl -q enable hand.service systemd-networkd.service
chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	e2scrub_reap.service fstrim.timer systemd-networkd-wait-online.service getty.target serial-getty@ttyS0.service
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/locale
mkdir -p "$root/usr/share/doc" "$root/lab"

cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$root"/boot/initrd.img-* "$folder/initrd.img"
rm -f "$root"/boot/vmlinuz-* "$root"/boot/initrd.img-*
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$folder/disk.img" 2G
rm -rf "$root"
