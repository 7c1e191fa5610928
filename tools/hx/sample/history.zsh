: 1704149905:0;cd ~/src/greenhouse
: 1704149957:0;git pull --rebase
: 1704149968:0;ls
: 1704149982:38;cargo build
: 1704150029:61;cargo test
: 1704150119:0;clear
: 1704150147:0;ls
: 1704150184:412;vim src/sensor.rs
: 1704150613:14;cargo test sensor
: 1704150636:0;git diff
: 1704150688:0;cd -
: 1704150692:0;git add -p
: 1704150711:0;git diff
: 1704150747:0;git log --oneline -5
: 1704150784:0;git commit -m "Read humidity once a minute, not once a second"
: 1704150809:0;cd ..
: 1704150823:0;git push
: 1704235605:0;cd -
: 1704235638:190;ssh pi@greenhouse.local
: 1704235884:6;scp target/release/greenhouse pi@greenhouse.local:bin/
: 1704235951:2;ssh pi@greenhouse.local systemctl --user restart greenhouse
: 1704236013:1;ssh pi@greenhouse.local journalctl --user -u greenhouse -n 50
: 1704236047:3;ping -c 3 greenhouse.local
: 1704257611:0;cd ~/src/bookshop
: 1704257680:0;git status
: 1704257725:11;docker compose up -d
: 1704257774:0;docker compose ps
: 1704257785:0;clear
: 1704257797:95;docker compose logs -f web
: 1704257913:0;curl -s localhost:8000/healthz
: 1704257968:0;history | tail
: 1704257974:0;curl -s localhost:8000/api/books?limit=3 | jq '.[].title'
: 1704258016:0;ll
: 1704258056:0;psql postgres://bookshop@localhost:5433/bookshop -c 'select count(*) from orders'
: 1704258116:0;ls
: 1704258135:0;git switch -c faster-search
: 1704258145:0;la
: 1704258166:0;rg "def search" --type py
: 1704258225:0;clear
: 1704258249:0;pwd
: 1704258273:0;ls
: 1704258306:0;git log --oneline -5
: 1704258316:655;vim shop/search.py
: 1704259023:9;pytest -q tests/test_search.py
: 1704259097:0;pwd
: 1704259124:4;pytest -q tests/test_search.py -k accents
: 1704259147:47;pytest -q
: 1704259231:0;git add shop/search.py tests/test_search.py
: 1704259278:0;git commit -m "Search without regard to accents"
: 1704259328:2;git push -u origin faster-search
: 1704259351:0;git diff
: 1704259367:5;gh pr create --fill
: 1704333740:0;df -h
: 1704333765:0;git status
: 1704333776:0;du -sh ~/Downloads/* | sort -h | tail
: 1704333825:0;rm ~/Downloads/*.iso
: 1704333867:0;docker system df
: 1704333934:21;docker system prune -f
: 1704333963:0;df -h
: 1704396990:0;cd ~/notes
: 1704397005:0;ls -lt | head
: 1704397058:0;ls
: 1704397073:230;vim 2024-01-week2.md
: 1704397319:0;git status
: 1704397327:0;git diff
: 1704397363:0;ll
: 1704397366:0;cd -
: 1704397392:0;git log --oneline -5
: 1704397416:0;grep -rn "deadline" .
: 1704397478:0;pwd
: 1704397509:0;git add . && git commit -m "notes"
: 1704419607:0;la
: 1704419630:0;cd ~/src/bookshop
: 1704419693:2;git fetch --all --prune
: 1704419717:1;git rebase origin/main
: 1704419746:2;git push --force-with-lease
: 1704419817:140;gh pr checks --watch
: 1704419962:4;gh pr merge --squash --delete-branch
: 1704420006:0;git switch main
: 1704420019:1;git pull
: 1704420055:0;git branch -d faster-search
: 1704477499:0;kubectl config use-context staging
: 1704477569:0;kubectl get pods -n bookshop
: 1704477635:0;cd -
: 1704477649:63;kubectl logs -n bookshop deploy/web --tail=100 -f
: 1704477765:25;kubectl rollout status -n bookshop deploy/web
: 1704477821:0;pwd
: 1704477845:0;kubectl get events -n bookshop --sort-by=.lastTimestamp | tail -20
: 1704477850:7;kubectl exec -n bookshop -it deploy/web -- python manage.py migrate --plan
: 1704477919:0;la
: 1704477959:41;kubectl describe pod -n bookshop -l app=worker | less
: 1704478059:0;kubectl top pods -n bookshop
: 1704536698:0;ls
: 1704536714:0;cd ~/src/greenhouse
: 1704536759:0;cd ..
: 1704536761:0;git status
: 1704536807:22;cargo clippy --all-targets -- -D warnings
: 1704536841:0;cargo fmt
: 1704536858:44;cargo test
: 1704536929:0;git commit -am "Fix what clippy found"
: 1704536953:0;git push
: 1704536997:0;la
: 1704537024:0;cargo update --dry-run
: 1704537036:0;cargo tree -d
: 1704537059:88;cargo build --release --target aarch64-unknown-linux-gnu
: 1704537152:0;pwd
: 1704537163:0;file target/aarch64-unknown-linux-gnu/release/greenhouse
: 1704537225:5;rsync -av target/aarch64-unknown-linux-gnu/release/greenhouse pi@greenhouse.local:bin/
: 1704537276:0;git status --short
: 1704537286:0;la
: 1704537294:1;ssh pi@greenhouse.local systemctl --user restart greenhouse
: 1704604974:9;sudo apt update
: 1704605009:0;apt list --upgradable
: 1704605038:0;cd -
: 1704605058:74;sudo apt upgrade -y
: 1704605175:0;clear
: 1704605185:0;la
: 1704605209:0;sudo reboot
: 1704671209:0;uptime
: 1704671275:0;git diff
: 1704671310:0;systemctl --failed
: 1704671368:0;journalctl -b -p err
: 1704671370:0;journalctl -u NetworkManager --since yesterday | tail -40
: 1704671391:0;pwd
: 1704671400:4;nmcli device wifi list
: 1704671447:6;nmcli device wifi connect "Corner Cafe"
: 1704671522:0;curl -sI https://example.org
: 1704755776:0;cd -
: 1704755795:0;ls
: 1704755829:0;cd ~/src/bookshop
: 1704755834:0;git log --oneline --graph -15
: 1704755844:0;git blame shop/models.py
: 1704755910:34;git log -p --follow shop/prices.py
: 1704755971:0;git stash
: 1704756030:0;git bisect start
: 1704756093:0;git bisect bad
: 1704756126:0;git bisect good v2.3.0
: 1704756161:203;git bisect run pytest -q tests/test_prices.py
: 1704756391:0;git bisect reset
: 1704756410:0;git stash pop
: 1704756462:150;vim shop/prices.py
: 1704756623:6;pytest -q tests/test_prices.py
: 1704756685:0;history | tail
: 1704756706:0;git commit -am "Round prices half to even again"
: 1704756727:0;git tag -a v2.3.2 -m "Prices round as they did in 2.3.0"
: 1704756775:0;git diff
: 1704756806:0;ls
: 1704756833:2;git push --follow-tags
: 1704855191:0;python3 -m venv .venv
: 1704855213:0;source .venv/bin/activate
: 1704855280:31;pip install -r requirements-dev.txt
: 1704855366:0;ll
: 1704855373:8;python -m pip list --outdated
: 1704855385:0;pwd
: 1704855415:6;pip install -U pytest ruff
: 1704855472:0;cd ..
: 1704855492:0;ruff check .
: 1704855502:0;cd -
: 1704855510:0;git log --oneline -5
: 1704855514:0;ruff format --diff .
: 1704855539:0;git diff
: 1704855568:0;ruff format .
: 1704855603:49;pytest -q
: 1704855722:0;git commit -am "Format with ruff"
: 1704855787:0;deactivate
: 1704903177:0;la
: 1704903190:86;for f in *.heic; do\
  convert "$f" "${f%.heic}.jpg"\
done
: 1704903287:0;git status
: 1704903294:7;exiftool -d %Y-%m-%d '-filename<DateTimeOriginal%-c.%le' *.jpg
: 1704903313:133;ffmpeg -i party.mov -vf scale=1280:-2 -crf 26 party.mp4
: 1704903476:0;ls
: 1704903507:0;git status --short
: 1704903535:0;ls -lh party.*
: 1704903571:310;rsync -av --progress ~/Pictures/2024 nas:/photos/
: 1704983751:0;ssh-keygen -t ed25519 -C laptop
: 1704983767:7;ssh-copy-id nas
: 1704983809:0;cd -
: 1704983830:0;ssh nas df -h /photos
: 1704983899:0;ssh nas zpool status
: 1704983938:0;ssh nas sudo smartctl -H /dev/sda
: 1705030219:0;git status
: 1705030237:0;git status
: 1705030271:0;cd ~/src/dotfiles
: 1705030297:66;vim zshrc
: 1705030396:0;source ~/.zshrc
: 1705030411:0;exec zsh
: 1705030468:0;git diff
: 1705030520:0;git commit -am "A shorter prompt"
: 1705030561:0;git push
: 1705086310:0;la
: 1705086320:0;cd ~/src/bookshop
: 1705086366:2;docker compose exec db psql -U bookshop -c "select id, title from books order by sold desc limit 10"
: 1705086386:0;history | tail
: 1705086404:4;docker compose exec db pg_dump -U bookshop bookshop > /tmp/bookshop.sql
: 1705086417:0;clear
: 1705086451:0;wc -l /tmp/bookshop.sql
: 1705086489:12;docker compose down -v
: 1705086540:0;git diff
: 1705086552:0;git status
: 1705086570:3;docker compose up -d db
: 1705086617:9;docker compose exec -T db psql -U bookshop < /tmp/bookshop.sql
: 1705086669:0;git log --oneline -5
: 1705086684:0;git status
: 1705086707:8;docker compose up -d
: 1705086777:0;history | tail
: 1705086791:0;git status
: 1705086798:0;ls
: 1705086809:3;docker stats --no-stream
: 1705086819:0;curl -s -o /dev/null -w '%{time_total}\n' localhost:8000/api/books
: 1705086859:0;cd -
: 1705086866:19;hey -n 2000 -c 20 http://localhost:8000/api/books
: 1705086954:60;py-spy record -o profile.svg --pid $(pgrep -f gunicorn | head -1)
: 1705087035:0;xdg-open profile.svg
: 1705087086:340;vim shop/views.py
: 1705087491:0;la
: 1705087502:0;la
: 1705087536:7;hey -n 2000 -c 20 http://localhost:8000/api/books
: 1705087609:0;git status --short
: 1705087643:0;git commit -am "One query for the list of books"
: 1705087647:0;git push
: 1705109631:0;git diff
: 1705109656:14;terraform init
: 1705109720:0;terraform fmt -recursive
: 1705109728:3;terraform validate
: 1705109801:27;terraform plan -out plan.bin
: 1705109892:0;pwd
: 1705109898:96;terraform apply plan.bin
: 1705110060:0;terraform output -json | jq -r .bucket.value
: 1705110073:0;aws s3 ls
: 1705110083:17;aws s3 sync public/ s3://bookshop-assets/ --delete
: 1705110162:0;ls
: 1705110180:0;cd -
: 1705110196:0;aws s3 ls s3://bookshop-assets/ --recursive --summarize | tail -2
: 1705110256:8;aws logs tail /ecs/bookshop --since 1h
: 1705110314:0;history | tail
: 1705110334:1;aws sts get-caller-identity
: 1705131316:0;cd ~/src/greenhouse
: 1705131360:0;la
: 1705131381:0;git status
: 1705131400:0;git status
: 1705131433:0;history | tail
: 1705131441:520;vim src/valve.rs
: 1705132025:0;git status --short
: 1705132045:5;cargo check
: 1705132111:12;cargo test valve
: 1705132150:0;ls
: 1705132182:0;pwd
: 1705132188:11;cargo test valve -- --nocapture
: 1705132258:44;RUST_LOG=debug cargo run -- --config test.toml
: 1705132353:0;cd -
: 1705132359:120;cargo bench
: 1705132499:75;cargo flamegraph --bin greenhouse
: 1705132609:0;git add src/valve.rs
: 1705132627:0;git commit -m "Close the valve when the sensor is silent"
: 1705132694:0;ls
: 1705132719:0;pwd
: 1705132746:0;git status
: 1705132779:0;git push
: 1705132832:0;git diff
: 1705132860:0;ll
: 1705132869:152;gh run watch
: 1705186362:0;man tar
: 1705186414:0;cd -
: 1705186416:3;tar czf ~/backup/notes-$(date +%F).tar.gz ~/notes
: 1705186458:0;ls
: 1705186485:0;tar tzf ~/backup/notes-2024-02-01.tar.gz | head
: 1705186496:2;sha256sum ~/backup/*.tar.gz > ~/backup/SHA256SUMS
: 1705186554:2;sha256sum -c ~/backup/SHA256SUMS
: 1705186564:0;git status
: 1705186584:0;crontab -l
: 1705186605:0;git log --oneline -5
: 1705186634:25;crontab -e
: 1705246420:0;ss -tlnp
: 1705246476:0;lsof -i :8000
: 1705246529:0;kill 48213
: 1705246557:0;fuser -k 8000/tcp
: 1705246565:33;htop
: 1705246652:0;free -h
: 1705246671:0;dmesg | tail
: 1705246709:0;ps aux --sort=-%mem | head
: 1705246727:0;clear
: 1705246750:0;git log --oneline -5
: 1705246768:12;strace -f -e trace=openat -p 50117
: 1705297043:0;find . -name '*.pyc' -delete
: 1705297095:0;history | tail
: 1705297107:0;git status --short
: 1705297140:0;find . -type f -size +50M -not -path './.git/*'
: 1705297199:0;fd -e md -x wc -w
: 1705297258:0;rg -l TODO | xargs wc -l
: 1705297284:0;git diff
: 1705297307:0;rg "price_cents" -g '!tests'
: 1705297349:0;git log --oneline -5
: 1705297387:0;git status
: 1705297415:0;sed -i 's/price_cents/price_minor/g' $(rg -l price_cents shop)
: 1705297484:0;git log --oneline -5
: 1705297507:0;git diff --stat
: 1705297572:0;ll
: 1705297582:0;git checkout -- .
: 1705297651:0;awk -F, '{ sum += $4 } END { print sum }' sales.csv
: 1705297680:0;cd -
: 1705297706:0;sort -t, -k4 -n sales.csv | tail -5
: 1705297765:0;cut -d, -f2 sales.csv | sort | uniq -c | sort -rn | head
: 1705297806:0;jq -r '.items[] | [.id, .name] | @tsv' export.json
: 1705325288:0;la
: 1705325320:0;node --version
: 1705325384:0;clear
: 1705325419:24;npm ci
: 1705325502:0;ls
: 1705325518:0;git status --short
: 1705325526:600;npm run dev
: 1705326186:0;git status
: 1705326188:33;npm test -- --watch=false
: 1705326252:18;npm run build
: 1705326276:92;npx playwright test
: 1705326408:15;npx playwright show-report
: 1705326457:0;git add -A
: 1705326514:0;git commit -m "Search box: keep focus after a result is chosen"
: 1705326530:0;git log --oneline -5
: 1705326565:0;git push
: 1705388257:0;cd ..
: 1705388259:0;git log --oneline -5
: 1705388290:0;ll
: 1705388307:0;make
: 1705388339:28;make test
: 1705388372:41;make clean && make -j8
: 1705388454:0;cd -
: 1705388487:3;make install PREFIX=$HOME/.local
: 1705388545:0;cd -
: 1705388574:210;gdb --args ./build/render scene.txt
: 1705388815:36;valgrind --leak-check=full ./build/render scene.txt
: 1705388896:50;objdump -d build/render | less
: 1705388994:0;git commit -am "Free the glyph cache at exit"
: 1705400706:0;cat <<'EOF' > /tmp/query.sql\
select author, count(*)\
from books\
group by author\
order by 2 desc\
limit 5;\
EOF
: 1705400772:0;pwd
: 1705400786:0;cd -
: 1705400802:1;psql -f /tmp/query.sql bookshop
: 1705400838:0;sqlite3 ~/notes/books.db '.schema'
: 1705400877:0;cd ..
: 1705400910:0;sqlite3 ~/notes/books.db 'select count(*) from reading_list'
: 1705475316:0;echo "grüÃ�e aus köln" | iconv -t utf-16 | xxd | head -2
: 1705475325:0;date -d @1700000000
: 1705475345:0;cal 2024
: 1705475353:0;cd ..
: 1705475364:0;bc <<< "scale=2; 1999 * 0.19"
: 1705475373:0;pwd
: 1705475395:0;python3 -c 'import secrets; print(secrets.token_hex(4))'
: 1705475407:0;units '5 miles' km
: 1705475451:0;history | tail
: 1705475486:1;curl wttr.in/Köln?format=3
: 1705527164:0;cd ~/src/bookshop
: 1705527214:0;git switch -c gift-cards
: 1705527258:900;vim shop/gift_cards.py
: 1705528173:0;git log --oneline -5
: 1705528180:0;ls
: 1705528217:480;vim tests/test_gift_cards.py
: 1705528725:7;pytest -q tests/test_gift_cards.py
: 1705528773:7;pytest -q tests/test_gift_cards.py
: 1705528837:0;la
: 1705528869:0;git status --short
: 1705528899:0;ll
: 1705528931:0;clear
: 1705528948:65;pytest -q tests/test_gift_cards.py --pdb
: 1705529066:0;git status
: 1705529097:0;git status
: 1705529115:0;ls
: 1705529155:0;git log --oneline -5
: 1705529178:51;pytest -q
: 1705529236:0;la
: 1705529258:3;python manage.py makemigrations shop
: 1705529301:0;cd ..
: 1705529307:0;cd -
: 1705529315:2;python manage.py migrate
: 1705529378:120;python manage.py shell
: 1705529549:0;git add .
: 1705529606:0;git commit -m "Gift cards, first part: buying one"
: 1705529624:2;git push -u origin gift-cards
: 1705529651:0;la
: 1705529672:4;gh pr create --draft --title "Gift cards" --body "Buying works, redeeming does not yet"
: 1705620091:0;ll
: 1705620122:340;ssh staging
: 1705620474:0;ssh staging 'tail -n 200 /var/log/nginx/error.log'
: 1705620526:1800;ssh -L 5434:localhost:5432 staging
: 1705622359:8;scp staging:/var/log/nginx/access.log /tmp/
: 1705622373:90;goaccess /tmp/access.log
: 1705622506:0;clear
: 1705622514:0;grep ' 500 ' /tmp/access.log | wc -l
: 1705622549:0;grep ' 500 ' /tmp/access.log | awk '{print $7}' | sort | uniq -c | sort -rn | head
: 1705646015:0;tmux new -s deploy
: 1705646074:0;git diff
: 1705646102:700;tmux attach -t deploy
: 1705646834:0;tmux ls
: 1705646851:80;watch -n 5 kubectl get pods -n bookshop
: 1705646970:0;cd ..
: 1705646989:0;helm list -n bookshop
: 1705647024:0;cd -
: 1705647037:0;git diff
: 1705647057:38;helm upgrade --install web ./chart -n bookshop -f values-staging.yaml
: 1705647121:0;clear
: 1705647139:16;helm rollback web 12 -n bookshop
: 1705647221:0;helm history web -n bookshop
: 1705743667:0;cd ~/src/greenhouse
: 1705743673:0;pwd
: 1705743689:0;git pull --rebase
: 1705743738:0;git log --oneline -5
: 1705743754:0;cd -
: 1705743794:46;cargo test
: 1705743866:88;vim README.md
: 1705744003:0;git commit -am "Say which sensors work"
: 1705744027:0;git push
