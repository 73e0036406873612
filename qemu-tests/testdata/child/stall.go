package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stalled is a file system that answers nobody, as a disk that died: what asks
// it for anything sleeps in the kernel, and no signal ends that.
const stalled = "/stalled"

// stall mounts it by FUSE, takes requests and never answers (Documentation/
// filesystems/fuse). It lives for as long as this process, which PID 1 spares.
func stall() {
	must(os.MkdirAll(stalled, 0o755))
	if err := unix.Mknod("/dev/fuse", unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))); err != nil && err != unix.EEXIST {
		panic(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR, 0)
	must(err)
	must(unix.Mount("stalled", stalled, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)))
	request := make([]byte, 1<<20)
	for {
		n, err := unix.Read(fd, request)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		const initialise = 26
		if n >= 40 && binary.LittleEndian.Uint32(request[4:]) == initialise {
			reply := make([]byte, 16+64) // struct fuse_out_header, struct fuse_init_out
			binary.LittleEndian.PutUint32(reply, uint32(len(reply)))
			copy(reply[8:], request[8:16])                        // the number of the request
			binary.LittleEndian.PutUint32(reply[16:], 7)          // version 7.31
			binary.LittleEndian.PutUint32(reply[20:], 31)         //
			binary.LittleEndian.PutUint32(reply[16+20:], 128<<10) // the longest write
			unix.Write(fd, reply)
		}
	}
}

// startStall waits until it is there.
func startStall() {
	_, err := syscall.ForkExec("/init", []string{"@stall"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	must(err)
	for range 500 {
		mounts, err := os.ReadFile("/proc/mounts")
		must(err)
		if strings.Contains(string(mounts), "stalled "+stalled) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	panic("no file system that stalls")
}

// hang has a thread of this process sleep in the kernel for ever.
func hang() {
	startStall()
	go os.ReadFile(stalled + "/x")
	time.Sleep(200 * time.Millisecond)
}

// hangingRoot makes dir a link to where nothing answers.
func hangingRoot(dir string) {
	startStall()
	must(os.RemoveAll(dir))
	must(os.Mkdir(dir, 0o755))
	must(unix.Mount(stalled, dir, "", unix.MS_BIND, ""))
}
