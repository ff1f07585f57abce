module seatrial.dev/tests/sample/app

go 1.25.0
