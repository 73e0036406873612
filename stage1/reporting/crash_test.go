package reporting

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/stage1/cmdline"
	"netstage/stage1/fault"
	"netstage/stage1/report"
)

// The rescue goes on from what the dead boot left, or from nothing.
func TestReportOfACrashReport(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, reportFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	d := CrashReport{
		Root:      root,
		KernelLog: func(int) []string { return []string{"Command line: a.password=hunter2"} }, Version: "1.0",
		Failure: fault.Failure{Class: "panic", Cause: "boot panicked: a.password=hunter2", Step: "boot", Tried: []string{"hunter2"}},
	}
	d.Config.Modules = append(d.Config.Modules, cmdline.Param{Key: "a.password", Value: "hunter2", HasValue: true})
	for text, steps := range map[string][]report.Step{
		"": nil, "{": nil, `{"version":9}`: nil,
		`{"version":1,"state":"running","agent":"1.0","steps":[{"name":"config","duration_ms":5},{"name":"image","start_ms":1,"running":true}]}`: {
			{Name: "config", DurationMS: 5}, {Name: "image", StartMS: 1, Failure: "panic"},
		},
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r := d.report()
		for i := range r.Steps {
			if r.Steps[i].Failure != "" {
				if r.Steps[i].DurationMS <= 0 {
					t.Errorf("%q: a step of no length", text)
				}
				r.Steps[i].DurationMS = 0
			}
		}
		want := &fault.Failure{Class: "panic", Cause: "boot panicked: a.password=(blanked)", Step: "boot", Tried: []string{"(blanked)"}}
		if r.Version != 1 || r.State != report.Failed || r.Agent != "1.0" || !cmp.Equal(r.Failure, want) || !cmp.Equal(r.Steps, steps) || r.KernelLog[0] != "Command line: a.password=(blanked)" {
			t.Errorf("%q: %+v, failure %+v", text, r, r.Failure)
		}
	}
}
