package qemutests

import (
	"syscall"
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// In the shell of a breakpoint "boot" tells where the boot stands, and goes back.
func TestBootCommand(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	server, url := serve(t, lan, store(t, classic()))
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.break=root init=" + system.Init + " rootfs=" + url})
	m.Expect("leaves it")
	m.Type("boot status\r")
	m.Expect("The boot stands before step root, at a breakpoint.")
	m.Expect("image     at")
	m.Expect("root      to come")
	m.Type("boot net\r")
	m.Expect("eth0")
	m.Expect("10.77.0.")
	m.Type("boot fetch\r")
	m.Expect("image: ")
	m.Expect(url)
	m.Type("echo n=$(boot report | grep -c '\"breakpoint\": \"root\"')\r")
	m.Expect("n=1")
	m.Type("boot; echo st=$?\r") // and does not start another boot
	m.Expect("usage: boot COMMAND")
	m.Expect("st=2")
	m.Type("boot retry handover\r")
	m.Expect("step handover comes after root")
	m.Type("boot retry image\r")
	m.Expect("going back to step image, as somebody asked")
	m.Expect("image (6/8): done")
	m.Expect(`breakpoint before step "root"`)
	m.Expect("leaves it")
	m.Type("exit\r")
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
	if n := len(server.Log()); n != 2 {
		t.Errorf("the image was asked for %d times", n)
	}
}

// What failed is told, and tried again once it is mended, from the shell of the menu.
func TestBootRetry(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	m := boot(t, nsmachine.Config{Files: map[string]string{"/elsewhere": a.path}, Cmdline: "boot.shell_on_fail rootfs=/image.squashfs init=" + system.Init})
	m.Expect("Keys: i shell")
	m.Type("i")
	m.Expect("leaves it")
	m.Type("boot status\r")
	m.Expect("The boot failed in step image")
	m.Type("mv /elsewhere /image.squashfs; boot retry\r")
	m.Expect("going back to step image")
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
}

// After the death of the boot the rescue starts it again; as PID 1 a shell has nobody to ask.
func TestBootCommandOfTheRescue(t *testing.T) {
	t.Parallel()
	m := allInOne(t, "boot.debug1 boot.shell_on_fail")
	m.Expect("leaves it")
	if err := syscall.Kill(childNamed(t, m.Pid(), "boot"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.Expect("boot failed: killed")
	m.Expect("Keys: i shell")
	m.Type("i")
	m.Expect("leaves it")
	m.Type("boot status\r")
	m.Expect("The boot failed in step boot: killed")
	m.Type("boot retry network\r")
	m.Expect("can only start again from its first step")
	m.Type("boot retry\r")
	m.Expect("pseudo (1/8)")
	m.Expect("leaves it")
	m.Type("exit 1\r")
	m.Expect("Keys: i shell")
	m.Type("f")
	m.Expect("leaves it")
	m.Type("boot status\r")
	m.Expect("PID 1 is a shell, and nothing boots")
	m.Type("boot retry\r")
	m.Expect("there is no boot to go back to")
	m.Type("exit\r")
	expectEnd(t, m, nsmachine.Rebooted)
}
