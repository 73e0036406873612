// Storm floods the kernel log, from the background, as a driver does whose
// device has gone mad. It ends with the machine.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 1 {
		again := exec.Command("/proc/self/exe", "blow")
		again.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := again.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "storm:", err)
			os.Exit(1)
		}
		return
	}
	for n := 0; ; n++ {
		if n%10 == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		// Opened anew for each line: the kernel lets an opening log ten.
		log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
		if err != nil {
			continue // stage 2 has its own
		}
		fmt.Fprintf(log, "<3>storm %d of a driver whose device has gone mad, as it says again and again and again", n)
		log.Close()
	}
}
