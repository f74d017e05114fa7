#!/bin/sh
# PID 1 of the demo and test guest: mounts, modules, then the agent on the second serial port.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order
acpid -c /etc/acpi -l /dev/null
while [ ! -c /dev/ttyS1 ]; do usleep 20000; done
# clocal, -hupcl: clients of the port come and go, the agent's terminal must not hang up with them.
stty -F /dev/ttyS1 raw -echo clocal -hupcl
while :; do setsid sh /agent.sh < /dev/ttyS1 > /dev/ttyS1 2>/dev/null; done
