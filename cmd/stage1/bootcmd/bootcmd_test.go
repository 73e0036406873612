package bootcmd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/stage1"
)

// machine is files as a boot leaves them, and the processes that there are by
// their parents and arguments.
func machine(t *testing.T, files map[string]string, processes ...string) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{Run: filepath.Join(dir, "run"), Proc: filepath.Join(dir, "proc"), Kmsg: filepath.Join(dir, "run/kmsg")}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		write(filepath.Join(o.Run, name), text)
	}
	for i, process := range processes {
		parent, argv, _ := strings.Cut(process, " ")
		pid := filepath.Join(o.Proc, fmt.Sprint(i+2))
		write(pid+"/stat", fmt.Sprintf("%d (a) b) S %s 0 0", i+2, parent))
		write(pid+"/cmdline", strings.ReplaceAll(argv, " ", "\x00")+"\x00")
	}
	return o
}

func (o Options) call(args ...string) (status int, out, errs string) {
	var a, b bytes.Buffer
	status = Main(context.Background(), args, &a, &b, o)
	return status, a.String(), b.String()
}

const failed = `{"version":1,"state":"failed","agent":"x","start_ms":2000,"duration_ms":9000,"machine":{"macs":[]},"steps":[
	{"name":"pseudo","start_ms":2000,"duration_ms":13},{"name":"config","start_ms":2013,"duration_ms":9},
	{"name":"modules","start_ms":2030,"duration_ms":4},{"name":"devices","start_ms":2040,"duration_ms":271},
	{"name":"network","start_ms":2400,"duration_ms":188},{"name":"image","start_ms":2600,"duration_ms":1500,"failure":"stalled"},
	{"name":"image","start_ms":4100,"duration_ms":2500,"failure":"mismatch"}],
	"failure":{"class":"mismatch","cause":"the image is not the one of the digest","step":"image","tried":["a: stalled","b: mismatch"]}}`

const stopped = `{"version":1,"state":"running","agent":"x","start_ms":2000,"duration_ms":9000,"machine":{"macs":[]},"breakpoint":"network","steps":[
	{"name":"pseudo","start_ms":2000,"duration_ms":13},{"name":"config","start_ms":2013,"duration_ms":9},
	{"name":"modules","start_ms":2030,"duration_ms":4},{"name":"devices","start_ms":2040,"duration_ms":271}]}`

const running = `{"version":1,"state":"running","agent":"x","start_ms":2000,"duration_ms":9000,"machine":{"macs":[]},"steps":[
	{"name":"pseudo","start_ms":2000,"duration_ms":13,"running":true}]}`

func TestStatus(t *testing.T) {
	for name, test := range map[string]struct {
		report    string
		processes []string
		want      []string
	}{
		"failed": {failed, []string{"1 boot", "2 sh", "3 boot status"}, []string{
			"The boot failed in step image: mismatch\nthe image is not the one of the digest\nLast tried: b: mismatch\n",
			`"boot retry" does from anywhere`,
			"  pseudo    at    2.000 s     0.013 s  done\n",
			"  image     at    4.100 s     2.500 s  failed: mismatch, try 2\n  root      to come\n  handover  to come\n",
		}},
		"stopped":    {stopped, []string{"1 boot"}, []string{`The boot stands before step network, at a breakpoint. "exit 0" there goes on`, "  network   to come\n"}},
		"running":    {running, []string{"1 boot"}, []string{"The boot is in step pseudo.", "  runs\n"}},
		"dead":       {running, []string{"1 rescue killed x"}, []string{"  cut off\n"}},
		"PID 1's":    {failed, []string{"1 boot status"}, []string{`PID 1 is a shell, and nothing boots. "exit" reboots.`}},
		"somebody's": {failed, []string{"7 boot"}, []string{"PID 1 is a shell"}},
	} {
		o := machine(t, map[string]string{"boot.json": test.report}, test.processes...)
		status, out, errs := o.call("status")
		for _, want := range test.want {
			if !strings.Contains(out, want) || status != 0 {
				t.Errorf("%s: status %d, no %q in\n%s%s", name, status, want, out, errs)
			}
		}
		for line := range strings.Lines(out) {
			if len(line) > 110 {
				t.Errorf("%s: a long line: %s", name, line)
			}
		}
	}
	if status, out, errs := machine(t, nil, "1 boot").call("status"); status != 1 || out != "" || !strings.Contains(errs, "not told anything yet") {
		t.Errorf("no report: %d, %q, %q", status, out, errs)
	}
	if _, out, _ := machine(t, map[string]string{"boot.json": failed}).call("report"); out != failed {
		t.Errorf("the report: %s", out)
	}
}

func TestFetch(t *testing.T) {
	o := machine(t, map[string]string{"image.json": `{"what":"image","bytes":15728640,"total":27262976,"bytes_per_second":17825792,"eta_ms":1234,"retries":1,"took_ms":900,"mirrors":[
		{"url":"http://a/x","bytes":15728640,"bytes_per_second":17825792,"faults":0},
		{"url":"http://b/x","bytes":0,"bytes_per_second":0,"faults":2,"answer":"404 Not\u001b[2J Found","class":"http-404","bad":true}]}`})
	want := "image: 15.0 MiB of 26.0 MiB in 0.9 s, 17.0 MiB/s, 1 s to go, 1 retries\n  http://a/x\n    15.0 MiB, 17.0 MiB/s\n" +
		"  http://b/x\n    0.0 MiB, 2 faults, last: 404 Not"
	if status, out, _ := o.call("fetch"); status != 0 || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, "Found; not asked again\n") || strings.Contains(out, "\x1b") {
		t.Errorf("%d, %q", status, out)
	}
	o = machine(t, map[string]string{
		"image.json":  `{"what":"verity tree","bytes":1048576,"total":1048576,"took_ms":900}`,
		"stream.json": `{"state":"streaming","bytes":12582912,"total":25165824,"received":13631488,"seconds":2.5,"reads":90,"waited":7,"longest_wait_ms":610,"restarts":1,"waiting":"a reader \u001b[2J has waited"}`,
	})
	want = "verity tree: 1.0 MiB of 1.0 MiB in 0.9 s\nstream: 12 of 24 MiB are there, 13 MiB received in 2.5 s; the rest comes\n  7 of 90 reads waited, the longest 610 ms\n" +
		"  the process that fetches was started again 1 times\n  a reader "
	if status, out, _ := o.call("fetch"); status != 0 || !strings.HasPrefix(out, want) || strings.Contains(out, "\x1b") {
		t.Errorf("%d, %q", status, out)
	}
	if status, out, _ := machine(t, nil).call("fetch"); status != 0 || out != "Nothing has been fetched yet.\n" {
		t.Errorf("%d, %q", status, out)
	}
}

// What is followed is shown again when it has changed, in its place on a
// terminal.
func TestFollow(t *testing.T) {
	o := machine(t, nil)
	o.Width = 80
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	calls := 0
	err := o.follow(ctx, func() (string, error) {
		calls++
		if calls == 3 {
			cancel()
		}
		return fmt.Sprintf("line\n%d\n", calls/2), nil
	}, &out)
	if err != nil || out.String() != "line\n0\n\x1b[2A\x1b[Jline\n1\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestLog(t *testing.T) {
	o := machine(t, map[string]string{"kmsg": "3,1,1000000,-;disk on fire\n14,2,2000000,-;stage-1-init: image: here\n12,5,2500000,-;stage-1-init: slow\n7,6,3000000,-;noise\n"})
	lost := "-- 2 lines lost: the kernel logs faster than they are read --\n"
	for args, want := range map[string]string{
		"log":               "[    1.000000] err     disk on fire\n[    2.000000] info    stage-1-init: image: here\n" + lost + "[    2.500000] warning stage-1-init: slow\n[    3.000000] debug   noise\n",
		"log -l warn":       "[    1.000000] err     disk on fire\n" + lost + "[    2.500000] warning stage-1-init: slow\n",
		"log -a":            "[    2.000000] info    stage-1-init: image: here\n" + lost + "[    2.500000] warning stage-1-init: slow\n",
		"log -a -l 4 -f":    lost + "[    2.500000] warning stage-1-init: slow\n",
		"log -l emergency1": "",
	} {
		if status, out, errs := o.call(strings.Fields(args)...); out != want || (status == 2) != (want == "") {
			t.Errorf("%s: %d, %q, %q", args, status, out, errs)
		}
	}
}

func TestRetryThatCantBe(t *testing.T) {
	for name, test := range map[string]struct {
		report, process, step string
		want                  string
	}{
		"no such step": {failed, "1 boot", "mars", `there is no step "mars"; there are pseudo, config`},
		"later":        {failed, "1 boot", "root", "step root comes after image"},
		"breakpoint":   {stopped, "1 boot", "", "nothing has failed"},
		"dead":         {failed, "1 rescue killed x", "image", "can only start again from its first step"},
		"PID 1":        {failed, "1 boot retry", "image", "PID 1 is a shell"},
	} {
		o := machine(t, map[string]string{"boot.json": test.report}, test.process)
		if status, _, errs := o.call(strings.Fields("retry " + test.step)...); status == 0 || !strings.Contains(errs, test.want) {
			t.Errorf("%s: %d, %q", name, status, errs)
		}
	}
}

func TestUsage(t *testing.T) {
	o := machine(t, nil)
	for _, args := range []string{"", "frobnicate", "status -x", "report -f", "retry a b", "log -l", "log -z", "net x"} {
		if status, _, errs := o.call(strings.Fields(args)...); status != 2 || !strings.Contains(errs, "usage: boot COMMAND") {
			t.Errorf("%q: %d, %q", args, status, errs)
		}
	}
	if status, out, _ := o.call("help"); status != 0 || !strings.Contains(out, "retry [STEP]") {
		t.Errorf("help: %d, %q", status, out)
	}
	if got := Complete([]string{"retry"}); len(got) != len(stage1.StepNames()) {
		t.Errorf("steps: %v", got)
	}
}
