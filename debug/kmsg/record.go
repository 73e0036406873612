package kmsg

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Record is one message of /dev/kmsg, as Documentation/ABI/testing/dev-kmsg
// describes it.
type Record struct {
	Priority int           // 0 (emergency) to 7 (debug)
	Facility int           // 0: the kernel
	Seq      uint64        // counts up; a gap means that records were lost
	Time     time.Duration // since boot
	Flags    string        // "-", or "c" for a fragment
	Text     string        // may hold newlines
	Keys     []string      // KEY=value, for example SUBSYSTEM=pci
}

var errRecord = errors.New("not a kernel log record")

// Parse reads one record: "prio,seq,µs,flags[,…];text" and " KEY=value" lines.
func Parse(record []byte) (Record, error) {
	line, rest, _ := strings.Cut(string(record), "\n")
	head, text, ok := strings.Cut(line, ";")
	if !ok {
		return Record{}, fmt.Errorf("%w: no ';' in %.40q", errRecord, line)
	}
	field := strings.Split(head, ",")
	if len(field) < 4 {
		return Record{}, fmt.Errorf("%w: %d fields in %.40q", errRecord, len(field), head)
	}
	prio, err := strconv.ParseUint(field[0], 10, 16)
	if err != nil {
		return Record{}, fmt.Errorf("%w: priority %.20q", errRecord, field[0])
	}
	seq, err := strconv.ParseUint(field[1], 10, 64)
	if err != nil {
		return Record{}, fmt.Errorf("%w: sequence number %.20q", errRecord, field[1])
	}
	us, err := strconv.ParseUint(field[2], 10, 53) // in nanoseconds it must fit
	if err != nil {
		return Record{}, fmt.Errorf("%w: time %.20q", errRecord, field[2])
	}
	r := Record{
		Priority: int(prio & 7),
		Facility: int(prio >> 3),
		Seq:      seq,
		Time:     time.Duration(us) * time.Microsecond,
		Flags:    field[3],
		Text:     unescape(text),
	}
	for line := range strings.Lines(rest) {
		if key, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), " "); ok {
			r.Keys = append(r.Keys, unescape(key))
		}
	}
	return r, nil
}

// unescape undoes the kernel's \xNN for bytes it would not print.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// PriorityNames are those of syslog(2), by number.
var PriorityNames = [8]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// Format renders the record for a reader: a stamp and the text, a line each,
// coloured by priority and with its name when asked.
func (r Record) Format(color, names bool) string {
	on, off := "", ""
	if color {
		if on = prioColor(r.Priority); on != "" {
			off = "\x1b[0m"
		}
	}
	stamp := Stamp(r.Time)
	if names {
		stamp += fmt.Sprintf("%-7s ", PriorityNames[r.Priority])
	}
	var b strings.Builder
	for line := range strings.Lines(r.Text + "\n") {
		b.WriteString(stamp + on + Clean(line) + off + "\n")
	}
	return b.String()
}

func prioColor(prio int) string {
	switch {
	case prio <= 2:
		return "\x1b[1;31m"
	case prio == PrioErr:
		return "\x1b[31m"
	case prio == PrioWarning:
		return "\x1b[33m"
	case prio == PrioDebug:
		return "\x1b[2m"
	}
	return ""
}
