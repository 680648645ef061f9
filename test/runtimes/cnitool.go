// cnitool.go: what the CNI project's cnitool does, on the library that Debian has of it.
//
//	cnitool add|check|del NETWORK NETNS
//
// NETCONFPATH is the directory of the lists, CNI_PATH that of the plugins; CNI_ARGS and CAP_ARGS are passed on; CNI_IFNAME is
// "eth0" unless it is set. The container's ID is made from the path of the netns. The library keeps results in CNITOOL_CACHE.
package main

import (
	"context"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

func arguments(text string) ([][2]string, error) {
	var pairs [][2]string
	if text == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ";") {
		pair := strings.Split(part, "=")
		if len(pair) != 2 {
			return nil, fmt.Errorf("CNI_ARGS: invalid pair %q", part)
		}
		pairs = append(pairs, [2]string{pair[0], pair[1]})
	}
	return pairs, nil
}

func run(command, network, netns string) error {
	list, err := libcni.LoadConfList(os.Getenv("NETCONFPATH"), network)
	if err != nil {
		return err
	}
	args, err := arguments(os.Getenv("CNI_ARGS"))
	if err != nil {
		return err
	}
	var capabilities map[string]interface{}
	if text := os.Getenv("CAP_ARGS"); text != "" {
		if err := json.Unmarshal([]byte(text), &capabilities); err != nil {
			return err
		}
	}
	name := os.Getenv("CNI_IFNAME")
	if name == "" {
		name = "eth0"
	}
	path, err := filepath.Abs(netns)
	if err != nil {
		return err
	}
	sum := sha512.Sum512([]byte(path))
	attachment := &libcni.RuntimeConf{
		ContainerID:    fmt.Sprintf("cnitool-%x", sum[:10]),
		NetNS:          path,
		IfName:         name,
		Args:           args,
		CapabilityArgs: capabilities,
	}
	cni := libcni.NewCNIConfigWithCacheDir(filepath.SplitList(os.Getenv("CNI_PATH")), os.Getenv("CNITOOL_CACHE"), nil)

	switch command {
	case "add":
		result, err := cni.AddNetworkList(context.Background(), list, attachment)
		if err != nil {
			return err
		}
		return result.Print()
	case "check":
		return cni.CheckNetworkList(context.Background(), list, attachment)
	case "del":
		return cni.DelNetworkList(context.Background(), list, attachment)
	}
	return fmt.Errorf("unknown command %q", command)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: cnitool add|check|del NETWORK NETNS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
