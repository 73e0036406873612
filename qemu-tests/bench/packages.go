package bench

import "strings"

// Lines makes what "go test -bench" printed readable: a line for each
// benchmark, another for each of its figures.
func Lines(output string) []string {
	var lines []string
	pkg := ""
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "pkg:":
			pkg = fields[1][strings.LastIndexByte(fields[1], '/')+1:]
		case len(fields) >= 4 && strings.HasPrefix(line, "Benchmark"):
			name, _, _ := strings.Cut(fields[0], "-")
			lines = append(lines, pkg+"."+name)
			// After the number of rounds, pairs of a figure and its unit.
			for pair := fields[2:]; len(pair) >= 2; pair = pair[2:] {
				if pair[1] != "ns/op" {
					lines = append(lines, "  "+pair[0]+" "+pair[1])
				}
			}
		}
	}
	return lines
}
