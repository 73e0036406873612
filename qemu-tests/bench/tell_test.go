package bench

import (
	"math"
	"testing"
)

func TestWhatStage2Tells(t *testing.T) {
	console := "bench: log: [    3.601023] Run /init as init process\r\n" +
		"bench: log: [    7.101023] bench: stage 2\r\n" +
		"bench: log: [   13.601023] bench: whole\r\n" +
		"bench: figure used 165371904\r\n" +
		"bench: figure before 10.00 12.50\r\nbench: figure before 20.00 22.00\r\n" +
		"bench: hot netstage-hot 1\r\nbench: hot 0 4096\r\n"
	marks, figures := parseMarks(console), parseFigures(console)
	if math.Abs(marks["stage 2"]-3.5) > 1e-6 || math.Abs(marks["whole"]-10) > 1e-6 {
		t.Errorf("marks %v", marks)
	}
	if got := figures["used"]; len(got) != 1 || got[0][0] != 165371904 {
		t.Errorf("used %v", got)
	}
	if got := fastest(figures["before"], 200); got != 100 {
		t.Errorf("the fastest read: %v MiB/s", got)
	}
	if got := string(parseHot(console)); got != "netstage-hot 1\n0 4096\n" {
		t.Errorf("hot list %q", got)
	}
}
