package bench

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
)

// What stage 2 tells of a streamed image, in lines of a name and numbers. Times
// are of the kernel's log, or since its start.
const (
	tellFunctions = `
mark() { echo "<7>bench: $1" >/dev/kmsg; }
marks() { dmesg | grep -E 'Run /init|] bench: ' | sed 's/^/bench: log: /'; }
tell() { echo "bench: figure $*"; }
now() { read now rest </proc/uptime; echo $now; }
whole() {
	while ! grep -q '"complete"' /run/netstage/stream.json; do sleep 0.2; done
	while grep -q @netstage-stream /proc/[0-9]*/cmdline; do sleep 0.2; done
}
`
	// The server tells what came until stage 2. A boot that goes on until all
	// is there tells of the memory, too.
	tellStage2 = `
mark "stage 2"
echo "bench: began"
if [ -e /run/netstage/stream.json ] && grep -q bench.whole /proc/cmdline; then
	while ! grep -q '"complete"' /run/netstage/stream.json; do sleep 0.1; done
	mark whole
	whole
fi
marks
sync
echo 3 > /proc/sys/vm/drop_caches
tell used $(awk '/^MemTotal/ { t = $2 } /^MemFree/ { f = $2 } END { print (t - f) * 1024 }' /proc/meminfo)
echo "bench: end"
`
	// A part of the image is read through NBD, then all, so that it is swapped,
	// and the part again.
	tellReads = `
echo "bench: began"
look() { # NAME DEVICE
	echo 3 > /proc/sys/vm/drop_caches
	begun=$(now)
	dd if=$2 of=/dev/null bs=1M count=%d
	tell $1 $begun $(now)
}
look first /dev/dm-0
for n in 1 2 3; do look before /dev/dm-0; done
dd if=/dev/dm-0 of=/dev/null bs=1M
whole
for d in /sys/block/dm-0/slaves/*; do plain=/dev/${d##*/}; done
for n in 1 2 3 4 5 6 7 8 9 10; do look after /dev/dm-0; look plain $plain; done
echo "bench: end"
`
	tellDebian = `
systemctl is-system-running --wait
mark multi-user
marks
echo "bench: began"
if grep -q bench.whole /proc/cmdline; then
	sleep 2
	sed 's/^/bench: hot /' /run/netstage/image.hot
fi
echo "bench: end"
`
)

var (
	figureLine = regexp.MustCompile(`(?m)^bench: figure ([a-z0-9-]+) ([0-9.]+) ?([0-9.]*)\r?$`)
	hotLine    = regexp.MustCompile(`(?m)^bench: hot (.*?)\r?$`)
	markLine   = regexp.MustCompile(`(?m)^bench: log: \[ *([0-9]+\.[0-9]{6})\] (?:bench: (stage 2|whole|multi-user)|(Run /init).*?)\r?$`)
)

// parseFigures reads the numbers that stage 2 told, by names.
func parseFigures(console string) map[string][][2]float64 {
	figures := map[string][][2]float64{}
	for _, m := range figureLine.FindAllStringSubmatch(console, -1) {
		a, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			continue
		}
		b, _ := strconv.ParseFloat(m[3], 64) // none is 0
		figures[m[1]] = append(figures[m[1]], [2]float64{a, b})
	}
	return figures
}

// parseMarks reads the seconds between /init and what stage 2 marked in the
// kernel's log, by names.
func parseMarks(console string) map[string]float64 {
	marks, init := map[string]float64{}, 0.0
	for _, m := range markLine.FindAllStringSubmatch(console, -1) {
		at, err := strconv.ParseFloat(m[1], 64)
		switch {
		case err != nil:
		case m[3] != "":
			init = at
		case init > 0:
			marks[m[2]] = at - init
		}
	}
	return marks
}

// fastest is the best of reads of so many MiB, in MiB/s.
func fastest(reads [][2]float64, mib float64) (best float64) {
	for _, r := range reads {
		best = max(best, mib/max(r[1]-r[0], 0.01))
	}
	return best
}

// parseHot is the hot list that stage 2 told.
func parseHot(console string) []byte {
	var text bytes.Buffer
	for _, m := range hotLine.FindAllStringSubmatch(console, -1) {
		fmt.Fprintln(&text, m[1])
	}
	return text.Bytes()
}
