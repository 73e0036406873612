package vm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// qemuLine is QEMU's command line for c, a flag a line.
func qemuLine(t *testing.T, c Config, initrd string) string {
	t.Helper()
	p := plan{files: map[string]string{}}
	if c.Kernel != "" {
		var err error
		if p, err = newPlan(c); err != nil {
			t.Fatal(err)
		}
	}
	args := arguments(c, p, paths{qmp: "/tmp/qmp", initrd: initrd}, false, "http://10.0.2.2:80/boot.ipxe")
	return strings.ReplaceAll(Quote(args), " -", "\n-")
}

func TestCommandLines(t *testing.T) {
	const kernel = "testdata/init/main.go" // any file
	for _, test := range []struct {
		name   string
		config Config
		want   string
	}{
		{"network", Config{Kernel: kernel, Forwards: []Forward{{2222, 22}}}, `qemu-system-x86_64
-machine pc
-cpu qemu64,+rdrand
-m 2048
-smp 1
-nographic
-serial mon:stdio
-no-reboot
-qmp unix:/tmp/qmp,server=on,wait=off
-boot n
-nic user,bootfile=http://10.0.2.2:80/boot.ipxe,hostfwd=tcp:127.0.0.1:2222-:22,id=nic0,model=virtio-net-pci,mac=52:54:00:12:34:56`},
		{"direct", Config{Kernel: kernel, Direct: true, Init: "/init", Image: kernel, Append: "it's"}, `qemu-system-x86_64
-machine pc
-cpu qemu64,+rdrand
-m 2048
-smp 1
-nographic
-serial mon:stdio
-no-reboot
-qmp unix:/tmp/qmp,server=on,wait=off
-kernel testdata/init/main.go
-initrd /tmp/initrd
-append 'rootfs=2-main.go rootfs.base=http://10.0.2.2:80/ BOOTIF=01-52-54-00-12-34-56 console=ttyS0 panic=-1 init=/init it'\''s'
-nic user,bootfile=http://10.0.2.2:80/boot.ipxe,id=nic0,model=virtio-net-pci,mac=52:54:00:12:34:56
-global virtio-net-pci.romfile=`},
		{"odd", Config{Kernel: kernel, UEFI: true, Memory: 512, CPUs: 2, Drives: []string{"file=a"}, ExtraArgs: []string{"-S"},
			NICs: []NIC{{Model: "e1000", Backend: "tap,ifname=tap0,script=no,downscript=no"}, {MAC: "52:54:00:00:00:01"}}}, `qemu-system-x86_64
-machine q35
-cpu qemu64,+rdrand
-m 512
-smp 2
-nographic
-serial mon:stdio
-no-reboot
-qmp unix:/tmp/qmp,server=on,wait=off
-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd
-drive if=pflash,format=raw,unit=1,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd
-boot n
-nic tap,ifname=tap0,script=no,downscript=no,id=nic0,model=e1000,mac=52:54:00:12:34:56
-nic user,bootfile=http://10.0.2.2:80/boot.ipxe,id=nic1,model=virtio-net-pci,mac=52:54:00:00:00:01
-drive file=a
-S`},
		{"no card", Config{Kernel: kernel, Direct: true, Plain: true, Append: "a b", NoNIC: true}, `qemu-system-x86_64
-machine pc
-cpu qemu64,+rdrand
-m 2048
-smp 1
-nographic
-serial mon:stdio
-no-reboot
-qmp unix:/tmp/qmp,server=on,wait=off
-kernel testdata/init/main.go
-initrd /tmp/initrd
-append 'a b'
-nic none`},
	} {
		if diff := cmp.Diff(test.want, qemuLine(t, test.config, "/tmp/initrd")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestReproduction(t *testing.T) {
	got := Quote(reproduction(Config{Kernel: "k", Initrds: []string{"a", "b"}, Image: "i", Init: "/init", Append: "x y", Memory: 512,
		NICs: []NIC{{Model: "e1000"}}, UEFI: true, Forwards: []Forward{{2222, 22}}, ExtraArgs: []string{"-S"}}))
	want := "netstage boot --kernel k --initrd a --initrd b --image i --init /init --append 'x y' --nic e1000 --memory 512 --forward 2222:22 --uefi -- -S"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFilesOfOneNameGetNamesOfTheirOwn(t *testing.T) {
	p := plan{files: make(map[string]string)}
	got := []string{p.add("/a/initrd"), p.add("/b/initrd"), p.add("/a/odd name"), p.add("/c/initrd")}
	want := []string{"initrd", "2-initrd", "odd-name", "3-initrd"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestQuote(t *testing.T) {
	for arg, want := range map[string]string{"a-b_c=/d,e:f": "a-b_c=/d,e:f", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := Quote([]string{arg}); got != want {
			t.Errorf("%q: %s, want %s", arg, got, want)
		}
	}
}
