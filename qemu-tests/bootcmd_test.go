package qemutests

import (
	"syscall"
	"testing"
)

// In the shell of a breakpoint "boot" tells where the boot stands, and goes
// back.
func TestBootCommand(t *testing.T) {
	scenario{
		lan: &network{}, cmdline: "boot.break=root init={init} rootfs={url}",
		story: []step{
			prompt, types("boot status\r"),
			shows("The boot stands before step root, at a breakpoint.", "image     at", "root      to come"),
			types("boot net\r"), shows("eth0", "10.77.0."),
			types("boot fetch\r"), shows("image: ", "{url}"),
			types("echo n=$(boot report | grep -c '\"breakpoint\": \"root\"')\r"), shows("n=1"),
			types("boot; echo st=$?\r"), shows("usage: boot COMMAND", "st=2"), // and does not start another boot
			types("boot retry handover\r"), shows("step handover comes after root"),
			types("boot retry image\r"),
			shows("going back to step image, as somebody asked", "image (6/8): done", `breakpoint before step "root"`),
			prompt, types("exit\r"),
		},
		check: func(p *played) {
			if n := len(p.requests()); n != 2 {
				p.t.Errorf("the image was asked for %d times", n)
			}
		},
	}.run(t)
}

// What failed is told, and tried again once it is mended, from the shell of the
// menu.
func TestBootRetry(t *testing.T) {
	scenario{
		copies: map[string]string{"/elsewhere": "{image}"}, cmdline: "boot.shell_on_fail rootfs=/image.squashfs init={init}",
		story: []step{
			shows("Keys: i shell"), types("i"), prompt,
			types("boot status\r"), shows("The boot failed in step image"),
			types("mv /elsewhere /image.squashfs; boot retry\r"), shows("going back to step image"),
		},
	}.run(t)
}

// After the death of the boot the rescue starts it again; as PID 1 a shell has
// nobody to ask.
func TestBootCommandOfTheRescue(t *testing.T) {
	scenario{
		copies: inInitrd, cmdline: "init={init} boot.debug1 boot.shell_on_fail",
		story: []step{
			prompt, signals(syscall.SIGKILL), shows("boot failed: killed", "Keys: i shell"), types("i"), prompt,
			types("boot status\r"), shows("The boot failed in step boot: killed"),
			types("boot retry network\r"), shows("can only start again from its first step"),
			types("boot retry\r"), shows("pseudo (1/8)"), prompt,
			types("exit 1\r"), shows("Keys: i shell"), types("f"), prompt,
			types("boot status\r"), shows("PID 1 is a shell, and nothing boots"),
			types("boot retry\r"), shows("there is no boot to go back to"), types("exit\r"),
		},
		ends: rebooted,
	}.run(t)
}
