// Flip inverts one byte of a file, as a memory that fails would: flip FILE OFFSET.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	if err := flip(os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("flipped")
}

func flip(name, offset string) error {
	at, err := strconv.ParseInt(offset, 10, 64)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err := file.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 0xff
	if _, err := file.WriteAt(b[:], at); err != nil {
		return err
	}
	return file.Close()
}
