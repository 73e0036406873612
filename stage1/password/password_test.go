package password

import (
	"strings"
	"testing"
)

// What other programs make: "openssl passwd -6", crypt(3) for the rounds, and
// the reference implementation of argon2 (src/test.c).
var vectors = map[string]string{
	"$6$abcdefgh$D7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/yJpgFph0":             "x",
	"$6$abcdefgh$VN7LMkaLOrsMSWYHlf/ovyaWJao3Zm4TBZ4xfZWXb3l5At21Utq1nOJwr6vKh6Wgb2f1irZkd2TDXRV6cwWw51":             "correct horse battery staple",
	"$6$abcdefgh$qlUjQo8xiC5dmwOr49rtm.DQdv9onQYoWr0dgDR2SqMkw1296.hIZnRd/ltg71cpfDQGxCw0Bli1kXypCoIxg0":             "pässwörd",
	"$6$s$mBpQSh5Xa/usXqc7jwVUfAj8i4y4ttoy7dsa99UmkPTdvlWKqC5hRCsvYqlqmq8Ztg9XA7uuBCulnBeR3WK23/":                    "s",
	"$6$rounds=1234$saltsalt$DSBPDUZo0nCMWUbkNmW7RMcfxGS7cBvIvCXqeuthKtjYB6G18g/1OQ8smAgXrYCNdMBsO.kPjvs8iRopadGpI/": "secret",
	"$6$1234567890123456$gZ00lTIEjm9QzSoZxYnQkd08b5I7DizPb53CfZsEJ2AeR/reu5wDGPdaDd67wQL8njKdjLpL2kGaeNQ/6LOKA0":     "a very much longer text to encrypt.  This one even stretches over more than one line, and more than sixty-four bytes.",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":                           "password",
}

func TestHashesOfOthers(t *testing.T) {
	for text, password := range vectors {
		h, err := Parse([]byte("# the operators'\n\n" + text + "\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !h.Matches([]byte(password)) {
			t.Errorf("%s does not match %q", text, password)
		}
		for _, wrong := range []string{"", password + "x", strings.Repeat("x", MaxLength+1)} {
			if h.Matches([]byte(wrong)) {
				t.Errorf("%s matches %q", text, wrong)
			}
		}
	}
}

func TestNew(t *testing.T) {
	text, err := New([]byte("geheim"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := New([]byte("geheim"))
	if err != nil || again == text {
		t.Errorf("the salt is always the same: %s, %v", again, err)
	}
	h, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if h.Memory() != 64<<20 {
		t.Errorf("a check takes %d bytes", h.Memory())
	}
	if !h.Matches([]byte("geheim")) || h.Matches([]byte("Geheim")) || (Hash{}).Matches(nil) {
		t.Error("the wrong ones match")
	}
	for _, bad := range []string{"", strings.Repeat("x", MaxLength+1)} {
		if text, err := New([]byte(bad)); err == nil {
			t.Errorf("%d bytes: %s", len(bad), text)
		}
	}
}

// malformed are files that must not open anything, and what the complaint is
// about.
var malformed = map[string]string{
	"":         "no password hash",
	"# none\n": "no password hash",
	"secret":   "known kind",
	"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7":                     "known kind",
	"$1$abc$BXBqpb9BZcZhXLgbee.0s/":                                                                 "known kind",
	"$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":           "known kind",
	"$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":               "want $argon2id",
	"$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":          "version",
	"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":   "m=8 to 262144",
	"$argon2id$v=19$m=256,t=4000000000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4": "t=1 to 16",
	"$argon2id$v=19$m=256,t=2,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":          "p=1 to 64",
	"$argon2id$v=19$m=256,t=2,p=64$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":         "each lane",
	"$argon2id$v=19$t=2,m=256,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":          "want m=",
	"$argon2id$v=19$m=256,t=2,p=1$c29t$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":                 "salt",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$":                                                     "hash: want",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4$":         "want $argon2id",
	"$6$abcdefgh":    "want $6$SALT$HASH",
	"$6$abcdefgh$":   "hash: want 86",
	"$6$abcdefgh$xx": "hash: want 86",
	"$6$abcdefghabcdefgh1$D7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/yJpgFph0":            "salt",
	"$6$abcdefgh$!7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/yJpgFph0":                     "hash: want 86",
	"$6$rounds=999999999$abcdefgh$D7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/yJpgFph0":    "rounds",
	"$6$rounds=5$abcdefgh$D7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/yJpgFph0":            "rounds",
	"root:$6$abcdefgh$D7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/yJpgFph0:19000:0:99999:": "known kind",
	"$6$s$mBpQSh5Xa/usXqc7jwVUfAj8i4y4ttoy7dsa99UmkPTdvlWKqC5hRCsvYqlqmq8Ztg9XA7uuBCulnBeR3WK23/\n" +
		"$6$s$mBpQSh5Xa/usXqc7jwVUfAj8i4y4ttoy7dsa99UmkPTdvlWKqC5hRCsvYqlqmq8Ztg9XA7uuBCulnBeR3WK23/": "more than one",
}

func TestMalformedFiles(t *testing.T) {
	for text, want := range malformed {
		h, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if h != (Hash{}) {
			t.Errorf("%q: a hash in spite of the error", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for text := range vectors {
		f.Add([]byte(text))
	}
	for text := range malformed {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := Parse(text)
		if (err == nil) != (h != Hash{}) {
			t.Errorf("%q: %+v, %v", text, h, err)
		}
		if h.Memory() > 256<<20 {
			t.Errorf("%q: %d bytes of memory", text, h.Memory())
		}
	})
}
