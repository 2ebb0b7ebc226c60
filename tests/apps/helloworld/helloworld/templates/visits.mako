<h1>Visits</h1>
<p>${c.mine} of yours, ${c.all} in all; debug is ${c.debug}</p>
