package serials

import (
	"bytes"
	"fmt"
	"testing"
)

func TestTable(t *testing.T) {
	var table Table
	raise := func(name string, serial uint64, want bool) {
		t.Helper()
		if changed, err := table.Raise(name, serial); err != nil || changed != want {
			t.Errorf("%s %d: changed %v, %v", name, serial, changed, err)
		}
	}
	raise("web", 5, true)
	raise("web", 5, false)
	raise("web", 4, false)
	raise("db", 1, true)
	raise("", 3, true) // the lists of keys
	raise("one", 0, false)
	raise("web", 6, true)
	again, err := Decode(table.Encode())
	if err != nil || len(table.Encode()) != Size {
		t.Fatal(err)
	}
	for name, want := range map[string]uint64{"web": 6, "db": 1, "": 3, "one": 0} {
		if got := again.Highest(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
	// Two memories, of which either may be behind.
	var other Table
	for name, serial := range map[string]uint64{"web": 4, "db": 9, "mail": 2} {
		if _, err := other.Raise(name, serial); err != nil {
			t.Fatal(err)
		}
	}
	again.Merge(other)
	for name, want := range map[string]uint64{"web": 6, "db": 9, "": 3, "mail": 2} {
		if got := again.Highest(name); got != want {
			t.Errorf("merged, %q: %d, want %d", name, got, want)
		}
	}
}

// A full table forgets nothing.
func TestFull(t *testing.T) {
	var table Table
	for i := range entries {
		if _, err := table.Raise(fmt.Sprint(i), 7); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := table.Raise("one more", 1); err == nil {
		t.Error("one more name than there is room for")
	}
	if _, err := table.Raise("3", 8); err != nil || table.Highest("3") != 8 || table.Highest("15") != 7 {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	var table Table
	table.Raise("web", 5)
	f.Add(table.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(table.Encode(), b) {
			t.Error("it is written otherwise")
		}
		var other Table
		other.Merge(table)
		table.Raise("web", 5)
	})
}
