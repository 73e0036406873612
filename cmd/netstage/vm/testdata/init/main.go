// The init of the machines that the tests boot: it shows its command line and
// does what it is told at the console.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

func main() {
	syscall.Mount("proc", "/proc", "proc", 0, "")
	syscall.Mount("sys", "/sys", "sysfs", 0, "")
	cmdline, err := os.ReadFile("/proc/cmdline")
	fmt.Printf("cmdline: %s %v\n", strings.TrimSpace(string(cmdline)), err)
	input := bufio.NewScanner(os.Stdin)
	for {
		fmt.Print("what now? ")
		if !input.Scan() {
			return // the kernel panics then
		}
		switch text := input.Text(); text {
		case "poweroff":
			syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
		case "reboot":
			syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
		case "exit":
			return
		default:
			fmt.Printf("no command %q\n", text)
		}
	}
}
