package test

// verbScript is one script of TestVerbsAsDocker. Each ends with no container.
type verbScript struct{ name, text string }

func verbScripts() []verbScript {
	return []verbScript{
		{"life", `
D create --name c --network none img:1 sh -c 'echo out; echo err >&2; exit 3'; D start c; D wait c; D start -a c; echo $?; D logs c 2>err; cat err
D logs --tail 1 c 2>/dev/null; D restart -t 1 c; D wait c; D rm c; echo $?
D run -d --name c --network none img:1; D stop -t 1 c; D inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}' c; D stop c; echo $?
D start c; D kill c; D wait c; D start c; D kill -s TERM c; D kill -s 9 c; D wait c; D rm c
D run -d --name c --network none img:1; D rm -f c; D rm -f nosuch 2>/dev/null; echo $?; D ps -aq`},
		{"mistakes of names", `
for v in start stop restart kill rm wait logs top port pause unpause attach diff export update; do
  args=; case $v in update) args='-m 64m' ;; esac
  echo "== $v"; D $v $args nosuch 2>&1 >/dev/null; echo $?
done
D exec nosuch true 2>&1; echo $?; D inspect nosuch 2>&1; echo $?; D rename nosuch x 2>&1; echo $?; D cp nosuch:/x . 2>&1; echo $?; D commit nosuch 2>&1; echo $?; D volume rm nosuch 2>&1; echo $?`},
		{"mistakes of states", `
D create --name c --network none img:1 >/dev/null
for v in pause unpause kill top attach; do echo "== $v"; D $v c 2>&1; echo $?; done; D exec c true 2>&1; echo $?; D wait c; D stop c
D start c; D unpause c 2>&1; echo $?; D rm c 2>&1; echo $?; D start c; D create --name c img:1 2>&1; echo $?; D rename c c 2>&1; echo $?
D pause c; D pause c 2>&1; echo $?; D exec c true 2>&1; echo $?; D start c 2>&1; echo $?; D restart -t 1 c; D kill -s NOSUCH c 2>&1; echo $?; D port c 99 2>&1; echo $?; D rm -f c`},
		{"mistakes of use", `
for v in start stop kill rm wait exec cp rename commit logs inspect update 'volume rm' 'volume inspect' pause top port diff; do echo "== $v"; D $v 2>&1 | head -1; done
D update c 2>&1; echo $?; D rm --nosuch 2>&1 | head -1; D container nosuch >/dev/null 2>&1; echo $?`},
		{"ps", `
D create --name one --network none -l kind=web -l n=1 img:1 true >/dev/null; D run --name two --network none -l kind=db img:1 sh -c 'exit 3'; D run -d --name three --network none img:1 >/dev/null
f='{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Labels}} {{.Label "kind"}} {{.Networks}} {{.LocalVolumes}} {{.Ports}}'
D ps --format "$f"; D ps -a --format "$f" | sed 's/,\(kind\|n\)=/ &/g'; D ps -a --format 'table {{.Names}}\t{{.State}}' | sed 's/  */ /g'
for f in name=t name=^/two status=exited status=created exited=3 label=kind label=kind=db label=a=1 before=three since=one ancestor=img:1 network=none health=none volume=/image; do echo "== $f"; D ps -a --filter $f --format '{{.Names}}'; done
D ps -n 2 --format '{{.Names}}'; D ps -l --format '{{.Names}}'; D ps -aq | wc -l; D ps --filter nosuch=x 2>/dev/null; echo $?; D ps | sed '2,$d;s/  */ /g'
D container prune -f --filter label=kind=db | sed 's/: .*//'; D rm -f -v one three >/dev/null; D ps -aq`},
		{"pause", `
D run -d --name c --network none img:1 >/dev/null
D pause c; D ps --format '{{.State}} {{.Names}}'; D inspect -f '{{.State.Status}} {{.State.Paused}} {{.State.Running}}' c
D unpause c; D pause c; D stop -t 1 c; D inspect -f '{{.State.Status}} {{.State.ExitCode}}' c; D rm -v c`},
		{"rename", `
D create --name a --network none img:1 >/dev/null; D create --name b --network none img:1 >/dev/null
D rename a c; D ps -a --format '{{.Names}}' | sort; D rename b c 2>/dev/null; echo $?; D rm -v b c`},
		{"top", `
D run -d --name c --network none img:1 >/dev/null
D top c | sed 's/  */ /g' | cut -d' ' -f1,8-; D top c -o pid,comm | sed 's/^[0-9]* */PID /;s/  */ /g'; D top c -o comm 2>/dev/null; echo $?; D rm -f -v c`},
		{"exec", `
D run -d --name c --network none -e A=1 -w /tmp -u app img:1 >/dev/null
D exec c sh -c 'echo $A $B $IN $HOME $(pwd); id'; D exec -u root -w /srv -e B=2 c sh -c 'echo $A $B $HOME $(pwd); id'; echo in | D exec -i c cat; D exec c cat </dev/null
D exec c sh -c 'exit 7'; echo $?; D exec c sh -c 'kill -9 $$'; echo $?; D exec c nosuch >/dev/null 2>&1; echo $?; D exec c /etc/passwd >/dev/null 2>&1; echo $?
D exec -d c sh -c 'echo x > /tmp/made'; echo $?; until D exec c test -e /tmp/made; do sleep 0.1; done; echo C=3 > vars; D exec --env-file vars c sh -c 'echo $C'
D exec --privileged -u 0 c grep CapBnd /proc/self/status | wc -l; D exec -w /nosuch c pwd >/dev/null 2>&1; echo $?; D exec -u nosuch c true 2>/dev/null; echo $?; D rm -f -v c`},
		{"update", `
D run -d --name c --network none -m 64m img:1 >/dev/null; D update -m 96m --memory-swap 128m --cpu-shares 512 --pids-limit 33 --restart on-failure:2 c
D inspect -f '{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.CpuShares}} {{.PidsLimit}} {{.RestartPolicy.Name}}:{{.RestartPolicy.MaximumRetryCount}}{{end}}' c
for a in '-m 1m' '-m 256m' '--cpus 1' '--cpu-period 10'; do D update $a c 2>/dev/null; echo $?; done; D update --cpu-period 50000 c 2>&1; D rm -f -v c`},
		{"volumes", `
D volume create --label a=1 data; D volume create -o type=tmpfs -o device=tmpfs -o o=size=1m mem; D volume create data; D volume create | wc -c
D volume ls -q --filter label=a; D volume ls --filter name=dat --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}'; D volume ls --filter name=mem | sed 's/  */ /g'
D volume inspect -f '{{.Name}} {{.Driver}} {{.Labels.a}} {{.Scope}}' data; D volume inspect -f '{{json .Options}}' mem
D create --name c --network none -v data:/data -v /anon img:1 >/dev/null; D volume rm data 2>&1; echo $?; D volume ls -q --filter dangling=false | sed 's/^[0-9a-f]*$/ID/;s/data/volume data/' | sort
D rm -v c; D volume rm data mem; D volume inspect data 2>/dev/null; echo $?; D volume rm -f nosuch; echo $?; D volume create -o nosuch=1 x 2>/dev/null; echo $?; D volume prune -f | head -1; D volume ls -q`},
		{"wait", `
D run -d --name a --network none img:1 sh -c 'sleep 0.3; exit 5' >/dev/null; D run -d --name b --network none img:1 sh -c 'exit 6' >/dev/null; D wait a b; D rm -v a b`},
		{"port", `
D run -d --name c -p 127.0.0.1:18231:80 -p 127.0.0.1:18232:81/udp img:1 >/dev/null; D port c | sort; D port c 80; D port c 81/udp; D ps --format '{{.Ports}}' | tr , '\n' | sort
D inspect -f '{{json (index .NetworkSettings.Ports "80/tcp")}} {{json .HostConfig.PortBindings}}' c; D rm -f -v c`},
		{"logs", `
D run --name c --network none img:1 sh -c 'for i in 1 2 3; do echo $i; done; echo err >&2' >/dev/null 2>&1; D logs c 2>/dev/null; D logs -n 2 c 2>&1 | sort; D logs --since 1h c 2>/dev/null | wc -l; D logs --until 1h c 2>&1
D logs -t c 2>/dev/null | grep -c '^20..-..-..T..:..:..\.[0-9]*Z [0-9]$'; D logs --tail x c >/dev/null 2>&1; echo $?; D rm -v c`},
		{"cp in", `
mkdir w; D run -d --name c --network none -v $PWD/w:/w img:1 >/dev/null
for src in in/f in/d in/d/. in/link in/f/ in/nosuch; do for dst in new new/ dir file none/x flink; do
  mkdir w/dir; echo old > w/file; ln -s dir w/dlink; ln -s dir/t w/flink
  echo "== $src $dst"; D cp $src c:/w/$dst >/dev/null 2>&1; echo $?; (cd w; find . | sort | while read n; do stat -c "%n %F %a %u:%g %s" $n; done); rm -r w/*
done; done; D rm -f -v c`},
		{"cp out", `
D create --name c --network none img:1 >/dev/null; D cp in/. c:/in 2>/dev/null
for src in /in/f /in/d /in/d/. in/link in/f/ in/nosuch; do for dst in new new/ dir file none/x flink; do
  mkdir w w/dir; echo old > w/file; ln -s dir w/dlink; ln -s dir/t w/flink
  echo "== $src $dst"; D cp c:$src w/$dst >/dev/null 2>&1; echo $?; (cd w; find . | sort | while read n; do stat -c "%n %F %a %u:%g %s" $n; done); rm -r w
done; done; D rm -v c`},
		{"cp archive", `
D create --name c --network none -u 1000 img:1 sh -c 'stat -c "%n %a %u:%g" /tmp/d /tmp/d/*' >/dev/null
D cp -a in/d c:/tmp 2>/dev/null; D start -a c; D cp c:/tmp/d . 2>/dev/null; stat -c "%n %a %u:%g" d d/*; D rm -v c`},
		{"cp tar", `
D create --name c --network none img:1 >/dev/null; D cp in/d c:/tmp 2>/dev/null
D cp c:/tmp/d - | tar -t; D cp c:/tmp/d/. - | tar -t; D cp c:/tmp/d/a - | tar -t; D cp -L c:/tmp/d/a - | tar -t
tar -C in -c d | D cp - c:/srv; echo $?; D cp c:/srv - | tar -t; tar -C in -c d | D cp - c:/nosuch 2>/dev/null; echo $?; D rm -v c`},
		{"diff", `
D run --name c --network none img:1 sh -c 'echo x > /new; mkdir -p /srv/a/b; rm /etc/group; echo y >> /etc/passwd; ln -s x /tmp/l; mkdir /moved; mv /bin/tee /moved'
D diff c | sort; D rm -v c`},
		{"export", `
D run --name c --network none img:1 sh -c 'echo x > /new; mkdir /srv/a'
D export c | tar -t | grep -v -e '^dev' -e '^proc' -e '^sys' -e dockerenv -e mtab | sed 's|^\./||;/^$/d' | sort; D rm -v c`},
		{"commit", `
D run --name c --network none -e NEW=1 -e IN=user -u app -w /tmp -l b=2 img:1 sh -c 'echo x > /tmp/new'
D commit -a 'A <a@x>' -m 'my message' -c 'EXPOSE 80' -c 'CMD ["env"]' -c 'ENV MORE=1' -c 'WORKDIR /srv' -c 'USER root' c made:1 >/dev/null
D inspect -f '{{.Author}}|{{.Comment}}|{{json .Config.Cmd}}|{{json .Config.Entrypoint}}|{{json .Config.Env}}|{{json .Config.ExposedPorts}}|{{json .Config.Labels}}|{{.Config.User}}|{{.Config.WorkingDir}}|{{len .RootFS.Layers}}' made:1
D history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}' made:1 | head -1; D commit c made:2 >/dev/null; D inspect -f '{{json .Config.Cmd}} {{.Config.User}} {{.Config.WorkingDir}}' made:2
D run --rm --network none made:1 sort /tmp/new; D rm -v c; D rmi made:1 made:2 >/dev/null`},
	}
}
