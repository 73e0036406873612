package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// What the kernel is told over netlink (include/uapi/linux/nbd-netlink.h). The
// older ioctls would want a thread that sits in one of them, and that a signal
// to it ends the device.
const (
	family = "nbd"

	cmdConnect    = 1
	cmdDisconnect = 2

	attrIndex       = 1
	attrSize        = 2
	attrBlockSize   = 3
	attrTimeout     = 4
	attrServerFlags = 5
	attrClientFlags = 6
	attrSockets     = 7

	sockItem = 1
	sockFD   = 1

	flagHasFlags = 1 << 0
	flagReadOnly = 1 << 1

	destroyOnDisconnect = 1 << 0
)

// Connect makes a read-only device of size bytes whose requests come over
// sock, one end of a stream socket pair, and returns its number: /dev/nbdN. The
// kernel keeps the socket; sock may be closed. Nothing that takes long is an
// error to the kernel: it waits as long as the other end is open, and says so
// every 30 s.
func Connect(sock int, size int64) (index int, err error) {
	sockets := nested(attrSockets)
	item := sockets.AddRtAttr(sockItem|unix.NLA_F_NESTED, nil)
	item.AddRtAttr(sockFD, nl.Uint32Attr(uint32(sock)))
	answers, err := ask(cmdConnect,
		// 512 as a loop device has: what is read through either is the same.
		nl.NewRtAttr(attrSize, u64(uint64(size))), nl.NewRtAttr(attrBlockSize, u64(512)),
		nl.NewRtAttr(attrTimeout, u64(0)),
		nl.NewRtAttr(attrServerFlags, u64(flagHasFlags|flagReadOnly)),
		nl.NewRtAttr(attrClientFlags, u64(destroyOnDisconnect)),
		sockets)
	if err != nil {
		return 0, err
	}
	for _, text := range answers {
		if len(text) < nl.SizeofGenlmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(text[nl.SizeofGenlmsg:])
		if err != nil {
			return 0, fmt.Errorf("nbd: connect: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type&nl.NLA_TYPE_MASK == attrIndex && len(a.Value) >= 4 {
				return int(binary.NativeEndian.Uint32(a.Value)), nil
			}
		}
	}
	return 0, errors.New("nbd: connect: the kernel does not say which device it is")
}

// Release ends a device. Reads that it has not answered are I/O errors.
func Release(index int) error {
	_, err := ask(cmdDisconnect, nl.NewRtAttr(attrIndex, nl.Uint32Attr(uint32(index))))
	return err
}

func u64(v uint64) []byte { return nl.Uint64Attr(v) }

func nested(kind int) *nl.RtAttr { return nl.NewRtAttr(kind|unix.NLA_F_NESTED, nil) }

func ask(command uint8, attrs ...*nl.RtAttr) ([][]byte, error) {
	f, err := netlink.GenlFamilyGet(family)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOENT) {
			return nil, fault.Errorf(fault.NoDriver, "nbd: the kernel has no network block device: %w (pack the module into the initrd with --module +nbd)", err)
		}
		return nil, fmt.Errorf("nbd: look for the driver: %w", err)
	}
	r := nl.NewNetlinkRequest(int(f.ID), unix.NLM_F_ACK)
	r.AddData(&nl.Genlmsg{Command: command, Version: nl.GENL_CTRL_VERSION})
	for _, a := range attrs {
		r.AddData(a)
	}
	answers, err := r.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, fmt.Errorf("nbd: command %d: %w", command, err)
	}
	return answers, nil
}
