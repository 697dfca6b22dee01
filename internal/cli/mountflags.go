package cli

import "github.com/spf13/pflag"

// registerMounts adds the flags for what a container sees besides its image.
func (o *runOptions) registerMounts(f *pflag.FlagSet) {
	f.StringArrayVarP(&o.Volumes, "volume", "v", nil, "mount a directory, a file or a volume: `[SOURCE:]TARGET[:OPTIONS]`; options are ro, rw, nocopy, U (give it to the container's user), and shared, slave, private and their r- forms")
	f.StringArrayVar(&o.Mounts, "mount", nil, "mount as `type=bind|volume|tmpfs|image,source=SOURCE,target=TARGET[,readonly,...]`")
	f.StringArrayVar(&o.Tmpfs, "tmpfs", nil, "mount an empty file system in memory: `TARGET[:size=64m,mode=1777,...]`")
	f.StringArrayVar(&o.VolumesFrom, "volumes-from", nil, "mount what another container mounts: `CONTAINER[:ro]`")
	f.Var(&o.shmSize, "shm-size", "`size` of /dev/shm, e.g. 128m")
}
