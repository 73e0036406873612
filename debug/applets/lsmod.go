package applets

import (
	"fmt"
	"os"
	"strings"
)

// lsmodFunc turns /proc/modules ("NAME SIZE USES USERS, STATE ADDRESS") into
// lsmod's table.
func lsmodFunc(modules string) func(*call) error {
	return func(c *call) error {
		text, err := os.ReadFile(modules)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%-22s %9s  Used by\n", "Module", "Size")
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 4 {
				continue
			}
			users := strings.TrimSuffix(f[3], ",")
			if users == "-" {
				users = ""
			}
			fmt.Fprintln(c.out, strings.TrimRight(fmt.Sprintf("%-22s %9s  %s %s", f[0], f[1], f[2], users), " "))
		}
		return nil
	}
}
